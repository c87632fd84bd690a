use cofide_core::{BundlePackageRecord, PinnedSigner};
use cofide_store::{BundlePackages, BundlePackagesMut, Database, OrganizationsMut, TrustZonesMut};

use crate::builders::{id, zone};
use crate::objects::{organization, written};

pub(crate) async fn the_record_of_a_zones_packages_is_kept_and_goes_with_the_zone<D: Database>(database: &D) {
    let record = |exported_sequence, signer| BundlePackageRecord { trust_zone_id: id("a"), exported_sequence, signer };
    let signer = PinnedSigner { public_key: vec![1, 2, 3], sequence: i64::MAX.unsigned_abs() };
    written(database, async |write| {
        write.insert_organization(&organization()).await?;
        write.insert_trust_zone(&zone("a")).await?;
        write.put_bundle_package_record(&record(7, None)).await
    })
    .await;
    let read = async || database.begin_read().await.unwrap().bundle_package_record(&id("a")).await.unwrap();
    assert_eq!(read().await, Some(record(7, None)));
    written(database, async |write| write.put_bundle_package_record(&record(8, Some(signer.clone()))).await).await;
    assert_eq!(read().await, Some(record(8, Some(signer))));
    written(database, async |write| write.delete_trust_zone(&id("a")).await).await;
    assert_eq!(read().await, None);
}
