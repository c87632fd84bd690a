//! Clusters.

use cofide_core::{Profile, Timestamp};
use cofide_store::{AgentFilter, Agents, Clusters, ClustersMut, Database, FederatedServices, JoinTokens, Receipts};

use crate::builders::{cluster, id};
use crate::objects::{attempted, taken, two_zones, written};

pub(crate) async fn clusters_are_kept_in_full_and_in_part<D: Database>(database: &D) {
    two_zones(database).await;
    let mut full = cluster("full", "a");
    full.profile = Profile::Istio;
    full.kubernetes_context = Some("kind-a".to_owned());
    full.external_server = true;
    full.oidc_issuer_url = Some("https://issuer.example".to_owned());
    full.oidc_issuer_ca_cert = Some(vec![0, 159, 146, 150]);
    full.trust_provider = Some(Vec::new());
    full.extra_helm_values = Some(vec![1]);
    (full.created_at, full.updated_at) = (Timestamp(3), Timestamp(4));
    written(database, async |write| write.insert_cluster(&full).await).await;
    assert_eq!(database.begin_read().await.unwrap().cluster(&full.id).await.unwrap(), Some(full.clone()));
    let bare = cofide_core::Cluster { id: full.id.clone(), profile: Profile::Kubernetes, ..cluster("full", "a") };
    written(database, async |write| write.update_cluster(&bare).await).await;
    assert_eq!(database.begin_read().await.unwrap().cluster(&full.id).await.unwrap(), Some(bare));
}

pub(crate) async fn cluster_names_are_unique_within_their_zone_only<D: Database>(database: &D) {
    two_zones(database).await;
    let mut same_name = cluster("one", "a");
    same_name.id = id("other");
    let refused = attempted(database, async |write| write.insert_cluster(&same_name).await).await;
    assert_eq!(taken(refused), "cluster with name \"one\" in the same trust zone");
    same_name.trust_zone_id = id("b");
    written(database, async |write| write.insert_cluster(&same_name).await).await;
}

pub(crate) async fn deleting_a_cluster_takes_what_belongs_to_it<D: Database>(database: &D) {
    two_zones(database).await;
    crate::conformance::join_tokens::put(database, 1, "one", "a", 10).await;
    crate::conformance::receipts::put(database, "agent-one", "one", "x").await;
    written(database, async |write| write.delete_cluster(&id("one")).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.agent(&id("agent-one")).await.unwrap(), None);
    assert_eq!(read.join_token_of_cluster(&id("one")).await.unwrap(), None);
    assert_eq!(read.receipts(&Default::default()).await.unwrap(), []);
    assert_eq!(read.federated_services(&Default::default()).await.unwrap(), []);
    assert_eq!(read.agents(&AgentFilter::default()).await.unwrap().len(), 1, "the other cluster keeps its own");
}
