//! The world that most tests begin with, and how it is written.

use cofide_core::{Agent, AuditEvent, Change, EntityKind, EventKind, Organization, Outcome, Revision, Timestamp};
use cofide_store::{
    AgentsMut, AttestationPoliciesMut, AttestationPolicyBindingsMut, ClustersMut, Database, FederatedServicesMut, FederationsMut,
    OrganizationsMut, StoreError, TrustZonesMut, Writer,
};

use crate::builders::{binding, cluster, federation, id, policy, service, zone};

pub(crate) fn organization() -> Organization {
    Organization { id: id("org"), name: id("default") }
}

pub(crate) fn agent(name: &str, cluster: &str, zone: &str) -> Agent {
    Agent {
        id: id(name),
        cluster_id: id(cluster),
        trust_zone_id: id(zone),
        status: None,
        spiffe_id: None,
        last_seen_at: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(2),
    }
}

pub(crate) fn event(name: &str, occurred_at: i64) -> AuditEvent {
    AuditEvent {
        id: id(name),
        occurred_at: Timestamp(occurred_at),
        kind: EventKind::TrustZoneCreation,
        message: format!("event {name}"),
        links: vec![(EntityKind::TrustZone, "a".to_owned())],
        data: "{}".to_owned(),
        actor: "admin".to_owned(),
        source_ip: "192.0.2.1".to_owned(),
        outcome: Outcome::Success,
        server_version: "0.1.0".to_owned(),
    }
}

/// Writes with one function and commits without a change.
pub(crate) async fn written<D: Database>(database: &D, write: impl AsyncFnOnce(&mut D::Write) -> Result<(), StoreError>) -> Revision {
    let mut transaction = database.begin_write().await.unwrap();
    write(&mut transaction).await.unwrap();
    transaction.commit(None, Vec::new()).await.unwrap()
}

/// What a write that is then dropped answers.
pub(crate) async fn attempted<D: Database>(
    database: &D,
    write: impl AsyncFnOnce(&mut D::Write) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().await.unwrap();
    write(&mut transaction).await
}

/// Zones a and b with the clusters one and two, agents, federations both ways, a bound policy, and a service of one.
pub(crate) async fn two_zones<D: Database>(database: &D) {
    written(database, async |write| {
        write.insert_organization(&organization()).await?;
        write.insert_trust_zone(&zone("a")).await?;
        write.insert_trust_zone(&zone("b")).await?;
        write.insert_cluster(&cluster("one", "a")).await?;
        write.insert_cluster(&cluster("two", "b")).await?;
        write.insert_agent(&agent("agent-one", "one", "a")).await?;
        write.insert_agent(&agent("agent-two", "two", "b")).await?;
        write.insert_federation(&federation("a", "b")).await?;
        write.insert_federation(&federation("b", "a")).await?;
        write.insert_attestation_policy(&policy("ping-pong")).await?;
        write.insert_attestation_policy_binding(&binding("a", "ping-pong", &["b"])).await?;
        write.insert_attestation_policy_binding(&binding("b", "ping-pong", &["a"])).await?;
        write.insert_federated_service(&service("server", &cluster("one", "a"), &["b.test"])).await
    })
    .await;
}

/// A change that is about nothing in particular.
pub(crate) fn some_change() -> Change {
    Change::TrustZone(id("a"))
}

/// What an insertion or an update says is taken.
pub(crate) fn taken(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::AlreadyExists { noun, what }) => format!("{noun} with {what}"),
        other => panic!("{other:?} does not say that something is taken"),
    }
}

/// By what a deletion says the noun is used.
pub(crate) fn used_by(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::InUse { by, .. }) => by,
        other => panic!("{other:?} does not say that something is in use"),
    }
}
