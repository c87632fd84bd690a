use std::collections::BTreeMap;

use cofide_core::{Bundle, BundleReading, FoundBundle, HeldBundle, Timestamp, TrustDomain};
use cofide_store::{BundleReadingFilter, BundleReadings, BundleReadingsMut, ClustersMut, Database};

use crate::builders::id;
use crate::objects::{two_zones, written};

/// Of one trust domain that is held and one that is gone.
fn reading(cluster: &str, read_at: i64) -> BundleReading {
    let [b, c] = ["b.test", "c.test"].map(|name| TrustDomain::new(name).unwrap());
    let found = FoundBundle { digest: Bundle::empty(b.clone()).digest(), sequence_number: u64::MAX };
    let bundles = BTreeMap::from([
        (b, HeldBundle { found: Some(found), since: Timestamp(read_at - 1) }),
        (c, HeldBundle { found: None, since: Timestamp(read_at) }),
    ]);
    BundleReading { cluster_id: id(cluster), read_at: Timestamp(read_at), bundles }
}

pub(crate) async fn the_last_reading_of_each_cluster_is_kept<D: Database>(database: &D) {
    two_zones(database).await;
    written(database, async |write| {
        write.put_bundle_reading(&reading("two", 3)).await?;
        write.put_bundle_reading(&reading("one", 5)).await?;
        write.put_bundle_reading(&reading("one", 7)).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    let all = [reading("one", 7), reading("two", 3)];
    assert_eq!(read.bundle_readings(&BundleReadingFilter::default()).await.unwrap(), all);
    let of_zone = BundleReadingFilter { trust_zone_id: Some(id("a")), ..Default::default() };
    assert_eq!(read.bundle_readings(&of_zone).await.unwrap(), all[..1]);
    let of_cluster = BundleReadingFilter { cluster_id: Some(id("two")), ..Default::default() };
    assert_eq!(read.bundle_readings(&of_cluster).await.unwrap(), all[1..]);
}

pub(crate) async fn a_reading_goes_with_its_cluster<D: Database>(database: &D) {
    two_zones(database).await;
    written(database, async |write| {
        write.put_bundle_reading(&reading("one", 5)).await?;
        write.delete_cluster(&id("one")).await
    })
    .await;
    assert_eq!(database.begin_read().await.unwrap().bundle_readings(&BundleReadingFilter::default()).await.unwrap(), []);
}
