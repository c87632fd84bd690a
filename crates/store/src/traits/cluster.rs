use async_trait::async_trait;
use cofide_core::{Cluster, ClusterId};

use crate::{ClusterFilter, Result};

#[async_trait]
pub trait Clusters: Send {
    async fn cluster(&mut self, id: &ClusterId) -> Result<Option<Cluster>>;
    /// By name, and those of one name by trust zone id.
    async fn clusters(&mut self, filter: &ClusterFilter) -> Result<Vec<Cluster>>;
}

#[async_trait]
pub trait ClustersMut: Clusters {
    /// The id must be new, and the name within its trust zone.
    async fn insert_cluster(&mut self, cluster: &Cluster) -> Result<()>;
    async fn update_cluster(&mut self, cluster: &Cluster) -> Result<()>;
    /// Takes the cluster's agent, join token, receipts and federated services with it.
    async fn delete_cluster(&mut self, id: &ClusterId) -> Result<()>;
}
