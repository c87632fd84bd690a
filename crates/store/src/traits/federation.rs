use async_trait::async_trait;
use cofide_core::{Federation, FederationId};

use crate::{FederationFilter, Result};

#[async_trait]
pub trait Federations: Send {
    async fn federation(&mut self, id: &FederationId) -> Result<Option<Federation>>;
    /// The oldest first.
    async fn federations(&mut self, filter: &FederationFilter) -> Result<Vec<Federation>>;
}

#[async_trait]
pub trait FederationsMut: Federations {
    /// The id must be new, and the pair of trust zones in this direction.
    async fn insert_federation(&mut self, federation: &Federation) -> Result<()>;
    /// Bindings that name the remote zone are left as they are.
    async fn delete_federation(&mut self, id: &FederationId) -> Result<()>;
}
