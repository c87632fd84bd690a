use cofide_core::{JoinToken, JoinTokenHash, Timestamp};
use cofide_store::{Database, JoinTokenUse, JoinTokens, JoinTokensMut, StoreError, Writer};

use crate::builders::id;
use crate::objects::{attempted, two_zones, written};

fn token(secret: u8, cluster: &str, zone: &str, expires_at: i64) -> JoinToken {
    JoinToken {
        hash: JoinTokenHash([secret; 32]),
        trust_zone_id: id(zone),
        cluster_id: id(cluster),
        expires_at: Timestamp(expires_at),
        created_at: Timestamp(1),
    }
}

pub(crate) async fn put<D: Database>(database: &D, secret: u8, cluster: &str, zone: &str, expires_at: i64) {
    written(database, async |write| write.put_join_token(&token(secret, cluster, zone, expires_at)).await).await;
}

async fn used<D: Database>(database: &D, secret: u8, now: i64) -> JoinTokenUse {
    let mut write = database.begin_write().await.unwrap();
    let used = write.consume_join_token(&JoinTokenHash([secret; 32]), Timestamp(now)).await.unwrap();
    write.commit(None, Vec::new()).await.unwrap();
    used
}

pub(crate) async fn a_token_is_good_once<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, 1, "one", "a", 10).await;
    let kept = database.begin_read().await.unwrap().join_token_of_cluster(&id("one")).await.unwrap();
    assert_eq!(kept, Some(token(1, "one", "a", 10)));
    let found = async |secret| database.begin_read().await.unwrap().join_token(&JoinTokenHash([secret; 32])).await.unwrap();
    assert_eq!((found(1).await, found(2).await), (Some(token(1, "one", "a", 10)), None), "to look for it does not use it up");
    assert_eq!(used(database, 2, 5).await, JoinTokenUse::Unknown);
    assert_eq!(used(database, 1, 9).await, JoinTokenUse::Valid(token(1, "one", "a", 10)));
    assert_eq!(used(database, 1, 9).await, JoinTokenUse::Unknown);
    assert_eq!(found(1).await, None);
}

pub(crate) async fn an_expired_token_is_refused_and_gone<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, 1, "one", "a", 10).await;
    assert_eq!(used(database, 1, 10).await, JoinTokenUse::Expired(token(1, "one", "a", 10)), "at the moment of its expiry");
    assert_eq!(used(database, 1, 9).await, JoinTokenUse::Unknown);
}

pub(crate) async fn a_newer_token_takes_the_place_of_the_older<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, 1, "one", "a", 10).await;
    put(database, 2, "two", "b", 10).await;
    put(database, 3, "one", "a", 20).await;
    assert_eq!(used(database, 1, 5).await, JoinTokenUse::Unknown);
    assert_eq!(used(database, 3, 15).await, JoinTokenUse::Valid(token(3, "one", "a", 20)));
    assert_eq!(used(database, 2, 5).await, JoinTokenUse::Valid(token(2, "two", "b", 10)), "that of another cluster stays");
}

pub(crate) async fn a_token_that_was_used_in_a_dropped_transaction_is_still_good<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, 1, "one", "a", 10).await;
    let mut write = database.begin_write().await.unwrap();
    let used_by_a_stranger = write.consume_join_token(&JoinTokenHash([1; 32]), Timestamp(5)).await.unwrap();
    assert!(matches!(used_by_a_stranger, JoinTokenUse::Valid(_)));
    drop(write);
    assert!(matches!(used(database, 1, 5).await, JoinTokenUse::Valid(_)));
}

pub(crate) async fn expired_tokens_are_purged<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, 1, "one", "a", 10).await;
    put(database, 2, "two", "b", 20).await;
    let mut write = database.begin_write().await.unwrap();
    assert_eq!(write.purge_expired_join_tokens(Timestamp(10)).await.unwrap(), 1);
    write.commit(None, Vec::new()).await.unwrap();
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.join_token_of_cluster(&id("one")).await.unwrap(), None);
    assert!(read.join_token_of_cluster(&id("two")).await.unwrap().is_some());
}

pub(crate) async fn a_token_is_bound_to_a_cluster_of_its_zone<D: Database>(database: &D) {
    two_zones(database).await;
    for (cluster, zone) in [("one", "b"), ("nowhere", "a")] {
        let refused = attempted(database, async |write| write.put_join_token(&token(1, cluster, zone, 10)).await).await;
        assert!(matches!(refused, Err(StoreError::DanglingReference { .. })), "{refused:?}");
    }
}
