use async_trait::async_trait;
use cofide_core::{ClusterId, FederatedService, FederatedServiceId};

use crate::{FederatedServiceFilter, Result};

#[async_trait]
pub trait FederatedServices: Send {
    async fn federated_service(&mut self, id: &FederatedServiceId) -> Result<Option<FederatedService>>;
    /// By hostname, and those of one hostname the oldest first.
    async fn federated_services(&mut self, filter: &FederatedServiceFilter) -> Result<Vec<FederatedService>>;
    async fn federated_service_count(&mut self, cluster: &ClusterId) -> Result<u64>;
}

#[async_trait]
pub trait FederatedServicesMut: FederatedServices {
    /// The id must be new, and the hostname within its cluster.
    async fn insert_federated_service(&mut self, service: &FederatedService) -> Result<()>;
    async fn update_federated_service(&mut self, service: &FederatedService) -> Result<()>;
    async fn delete_federated_service(&mut self, id: &FederatedServiceId) -> Result<()>;
}
