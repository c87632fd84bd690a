//! Federations.

use cofide_store::{AttestationPolicyBindings, Database, FederationFilter, Federations, FederationsMut};

use crate::builders::{binding, federation, id};
use crate::objects::{attempted, taken, two_zones, written};

pub(crate) async fn federations_are_directed_pairs<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = federation("a", "b");
    again.id = id("again");
    assert_eq!(
        taken(attempted(database, async |write| write.insert_federation(&again).await).await),
        "federation with the direction a -> b"
    );
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.federation(&id("a-b")).await.unwrap(), Some(federation("a", "b")));
    assert_eq!(read.federations(&FederationFilter::default()).await.unwrap().len(), 2, "the way back is another");
    drop(read);
    written(database, async |write| write.delete_federation(&id("a-b")).await).await;
    assert_eq!(database.begin_read().await.unwrap().federations(&FederationFilter::default()).await.unwrap(), [federation("b", "a")]);
}

pub(crate) async fn a_zone_does_not_federate_with_itself<D: Database>(database: &D) {
    two_zones(database).await;
    assert!(attempted(database, async |write| write.insert_federation(&federation("a", "a")).await).await.is_err());
}

pub(crate) async fn deleting_a_federation_leaves_bindings_alone<D: Database>(database: &D) {
    two_zones(database).await;
    written(database, async |write| write.delete_federation(&id("a-b")).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.attestation_policy_binding(&id("a-ping-pong")).await.unwrap(), Some(binding("a", "ping-pong", &["b"])));
}
