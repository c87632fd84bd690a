use async_trait::async_trait;
use cofide_core::{Organization, OrganizationId};

use crate::{OrganizationFilter, Result};

#[async_trait]
pub trait Organizations: Send {
    async fn organization(&mut self, id: &OrganizationId) -> Result<Option<Organization>>;
    /// By name.
    async fn organizations(&mut self, filter: &OrganizationFilter) -> Result<Vec<Organization>>;
}

#[async_trait]
pub trait OrganizationsMut: Organizations {
    /// The id and the name must be new.
    async fn insert_organization(&mut self, organization: &Organization) -> Result<()>;
}
