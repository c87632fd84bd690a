//! Whom trust zones, clusters and policies belong to.

use crate::{Name, OrganizationId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: Name,
}
