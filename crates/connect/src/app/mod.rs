//! The rules, each in one place: what may be created, changed and taken away, by whom, and in which order.
//!
//! A rule reads and writes in one transaction, and its audit event is part of it. Arguments are the nouns of
//! [`cofide_core`], or drafts of them from [`cofide_api::convert`]; answers are nouns; messages and status codes belong to
//! [`crate::grpc`], rows to [`cofide_store`]. By the time a call arrives here, [`crate::gate`] has made sure that it comes
//! from the right kind of caller; what an agent may touch depends on the object, so it is decided here.

pub mod agent;
pub mod agent_status;
pub mod attestation_policy;
pub mod attestation_policy_binding;
pub mod audit;
pub mod binding_status;
pub mod bundle;
pub mod bundle_package;
pub mod bundle_reading;
pub mod cluster;
pub mod explain;
pub mod federated_service;
pub mod federation;
pub mod federation_status;
pub mod organization;
pub mod receipt;
pub mod trust_zone;

use std::sync::Arc;
use std::time::Duration;

use cofide_core::{AuditEvent, Change, OrganizationId};
use cofide_store::{ReadTransaction, Store, WriteTransaction};
use cofide_svid::bundle::package::PackageSigner;

use crate::error::Result;
use crate::hub::Hub;
use crate::partners::Troubles;
use crate::presence::Presence;

/// Everything that the rules need. Shared by all services.
#[derive(Clone)]
pub struct App {
    store: Store,
    hub: Hub,
    presence: Presence,
    troubles: Troubles,
    settings: Settings,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Owns what is created without naming an organization.
    pub organization_id: OrganizationId,
    pub join_token_ttl: Duration,
    pub max_federated_services_per_cluster: usize,
    /// The URL below which bundles are published as `<trust zone>/bundle`.
    pub bundle_endpoint_url: Option<String>,
    /// Signs the bundles that are carried to partners.
    pub package_signer: Arc<PackageSigner>,
}

impl App {
    pub fn new(store: Store, hub: Hub, presence: Presence, troubles: Troubles, settings: Settings) -> Self {
        Self { store, hub, presence, troubles, settings }
    }

    async fn read(&self) -> Result<ReadTransaction> {
        Ok(self.store.begin_read().await?)
    }

    async fn write(&self) -> Result<WriteTransaction> {
        Ok(self.store.begin_write().await?)
    }

    /// Commits a change with its event, and waits until it is in effect: whoever is told that a change succeeded finds
    /// it everywhere.
    async fn commit(&self, transaction: WriteTransaction, change: Option<Change>, event: AuditEvent) -> Result<()> {
        self.commit_with(transaction, change, vec![event]).await
    }

    /// As [`App::commit`], where one call is several events.
    async fn commit_with(&self, transaction: WriteTransaction, change: Option<Change>, events: Vec<AuditEvent>) -> Result<()> {
        let is_change = change.is_some();
        let revision = transaction.commit(change, events).await?;
        if is_change {
            self.hub.reach(revision).await;
        }
        Ok(())
    }
}
