//! Organizations own everything else. There is one, made at the first start; more come with more than one tenant.

use cofide_core::{Name, Organization, OrganizationId};
use cofide_store::{OrganizationFilter, Organizations, OrganizationsMut, Store, WriteTransaction};

use super::App;
use crate::error::{Error, Result};

pub(super) const NOUN: &str = "organization";

impl App {
    pub async fn organization(&self, id: &OrganizationId) -> Result<Organization> {
        self.read().await?.organization(id).await?.ok_or_else(|| Error::not_found(NOUN, id))
    }

    pub async fn organizations(&self, filter: &OrganizationFilter) -> Result<Vec<Organization>> {
        Ok(self.read().await?.organizations(filter).await?)
    }

    /// The organization that a new object belongs to: the one named, which must exist, or the default.
    pub(super) async fn owner(
        &self,
        transaction: &mut WriteTransaction,
        path: &str,
        named: Option<OrganizationId>,
    ) -> Result<OrganizationId> {
        let Some(id) = named else { return Ok(self.settings.organization_id.clone()) };
        match transaction.organization(&id).await? {
            Some(_) => Ok(id),
            None => Err(Error::unknown_reference(path, NOUN, id.as_str())),
        }
    }
}

/// The organization with this name, made where there is none.
pub async fn ensure(store: &Store, name: &Name) -> Result<Organization> {
    let mut transaction = store.begin_write().await?;
    let filter = OrganizationFilter { name: Some(name.clone()) };
    if let Some(organization) = transaction.organizations(&filter).await?.pop() {
        return Ok(organization);
    }
    let organization = Organization { id: crate::id::organization(), name: name.clone() };
    transaction.insert_organization(&organization).await?;
    transaction.commit(None, Vec::new()).await?;
    Ok(organization)
}
