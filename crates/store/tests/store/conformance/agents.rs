//! The agent of each cluster.

use cofide_core::{AgentState, AgentStatus, ConditionKind, Timestamp, UnmetCondition};
use cofide_store::{Agents, AgentsMut, Database, FederatedServicesMut, StoreError};

use crate::builders::{cluster, id, service};
use crate::objects::{agent, attempted, taken, two_zones, written};

pub(crate) async fn a_cluster_has_one_agent<D: Database>(database: &D) {
    two_zones(database).await;
    let refused = attempted(database, async |write| write.insert_agent(&agent("second", "one", "a")).await).await;
    assert_eq!(taken(refused), "agent with cluster one");
    let refused = attempted(database, async |write| write.insert_agent(&agent("agent-one", "two", "b")).await).await;
    assert_eq!(taken(refused), "agent with id agent-one");

    let mut first = agent("agent-one", "one", "a");
    first.status = Some(AgentStatus {
        state: AgentState::Error,
        message: "no gateway".to_owned(),
        unmet_conditions: vec![UnmetCondition {
            hostname: id("server.demo.a.test"),
            kind: ConditionKind::GatewayReady,
            reason: "NoGateway".to_owned(),
            message: "no address is known".to_owned(),
        }],
        updated_at: Timestamp(9),
    });
    written(database, async |write| write.update_agent(&first).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.agent(&first.id).await.unwrap().as_ref(), Some(&first));
    assert_eq!(read.agent_of_cluster(&id("one")).await.unwrap().as_ref(), Some(&first));
    assert_eq!(read.agent_of_cluster(&id("nowhere")).await.unwrap(), None);
    drop(read);
    written(database, async |write| write.delete_agent(&first.id).await).await;
    written(database, async |write| write.insert_agent(&agent("second", "one", "a")).await).await;
}

pub(crate) async fn an_agent_cannot_name_another_zone_than_its_cluster<D: Database>(database: &D) {
    two_zones(database).await;
    let refused = attempted(database, async |write| {
        write.delete_agent(&id("agent-one")).await?;
        write.insert_agent(&agent("stranger", "one", "b")).await
    })
    .await;
    assert!(matches!(refused, Err(StoreError::DanglingReference { noun: "agent", .. })), "{refused:?}");
    let mut stranger = service("other", &cluster("one", "a"), &["b.test"]);
    stranger.trust_zone_id = id("b");
    let refused = attempted(database, async |write| write.insert_federated_service(&stranger).await).await;
    assert!(matches!(refused, Err(StoreError::DanglingReference { noun: "federated service", .. })), "{refused:?}");
}

/// Postgres could not keep it, and what one agent says must not fail what is written together with it.
pub(crate) async fn a_text_with_a_nul_is_kept_without_it<D: Database>(database: &D) {
    two_zones(database).await;
    let said = |message: &str| {
        let status =
            AgentStatus { state: AgentState::Running, message: message.to_owned(), unmet_conditions: Vec::new(), updated_at: Timestamp(1) };
        cofide_core::Agent { status: Some(status), ..agent("agent-one", "one", "a") }
    };
    written(database, async |write| write.update_agent(&said("a\0b")).await).await;
    assert_eq!(database.begin_read().await.unwrap().agent(&id("agent-one")).await.unwrap(), Some(said("a\u{fffd}b")));
}
