//! Federations: directed, between two zones, each pair once.

use cofide_api::convert::federation::Draft;
use cofide_core::{Change, Direction, EntityKind, EventKind, Federation, FederationId, TrustZone, TrustZoneId};
use cofide_store::{FederationFilter, Federations, FederationsMut, TrustZones, WriteTransaction};
use serde_json::{Value, json};

use super::App;
use super::attestation_policy_binding::matched_by_patterns;
use super::audit::{event, now};
use super::trust_zone::{self, assigned_by_connect, immutable};
use crate::caller::CallContext;
use crate::error::{Error, Result};
use crate::id;

const NOUN: &str = "federation";
/// What a binding does with a zone that its pattern matches, when the federation comes and when it goes.
pub(super) const GAINS: &str = "federates with";
pub(super) const LOSES: &str = "no longer federates with";

impl App {
    pub async fn federation(&self, id: &FederationId) -> Result<Federation> {
        self.read().await?.federation(id).await?.ok_or_else(|| Error::not_found(NOUN, id))
    }

    pub async fn federations(&self, filter: &FederationFilter) -> Result<Vec<Federation>> {
        Ok(self.read().await?.federations(filter).await?)
    }

    /// The zone trusts the remote zone from now on.
    pub async fn create_federation(&self, context: &CallContext, draft: Draft) -> Result<Federation> {
        assigned_by_connect("federation.id", draft.id.as_ref())?;
        let (from, to) = (&draft.trust_zone_id, &draft.remote_trust_zone_id);
        let mut transaction = self.write().await?;
        let local = referenced(&mut transaction, "federation.trust_zone_id", from).await?;
        let remote = referenced(&mut transaction, "federation.remote_trust_zone_id", to).await?;
        immutable("federation.org_id", draft.organization_id.as_ref(), &local.organization_id)?;
        if local.id == remote.id {
            let reason = format!("cannot federate trust zone {} with itself", local.name);
            return Err(Error::invalid("federation.remote_trust_zone_id", reason));
        }
        if exists(&mut transaction, from, to).await? {
            return Err(Error::AlreadyExists(format!("federation already exists between {} and {}", local.name, remote.name)));
        }
        let federation = Federation {
            id: id::federation(),
            organization_id: local.organization_id.clone(),
            trust_zone_id: local.id.clone(),
            remote_trust_zone_id: remote.id.clone(),
            created_at: now(),
            updated_at: now(),
        };
        transaction.insert_federation(&federation).await?;
        let message = format!("federation {} created", direction(&local, &remote));
        let links = [link(&federation), trust_zone::link(&local), trust_zone::link(&remote)];
        let mut events = vec![event(context, EventKind::FederationCreation, message, links, &snapshot(&federation))];
        events.extend(matched_by_patterns(&mut transaction, context, &local, &remote, GAINS).await?);
        self.commit_with(transaction, Some(Change::of_federation(&federation)), events).await?;
        Ok(federation)
    }

    /// Bindings that name the remote zone, itself or by a pattern, stay; their workloads no longer get its bundle.
    pub async fn destroy_federation(&self, context: &CallContext, id: &FederationId) -> Result<()> {
        let mut transaction = self.write().await?;
        let federation = transaction.federation(id).await?.ok_or_else(|| Error::not_found(NOUN, id))?;
        let local = referenced(&mut transaction, "federation.trust_zone_id", &federation.trust_zone_id).await?;
        let remote = referenced(&mut transaction, "federation.remote_trust_zone_id", &federation.remote_trust_zone_id).await?;
        let message = format!("federation {} deleted", direction(&local, &remote));
        transaction.delete_federation(id).await?;
        let links = [link(&federation), trust_zone::link(&local), trust_zone::link(&remote)];
        let mut events = vec![event(context, EventKind::FederationDeletion, message, links, &snapshot(&federation))];
        events.extend(matched_by_patterns(&mut transaction, context, &local, &remote, LOSES).await?);
        self.commit_with(transaction, Some(Change::of_federation(&federation)), events).await
    }
}

/// Whether `from` trusts `to`.
pub(super) async fn exists(transaction: &mut WriteTransaction, from: &TrustZoneId, to: &TrustZoneId) -> Result<bool> {
    let filter =
        FederationFilter { trust_zone_id: Some(from.clone()), remote_trust_zone_id: Some(to.clone()), ..FederationFilter::default() };
    Ok(!transaction.federations(&filter).await?.is_empty())
}

async fn referenced(transaction: &mut WriteTransaction, path: &str, id: &TrustZoneId) -> Result<TrustZone> {
    transaction.trust_zone(id).await?.ok_or_else(|| Error::unknown_reference(path, trust_zone::NOUN, id.as_str()))
}

pub(super) fn direction(local: &TrustZone, remote: &TrustZone) -> Direction {
    Direction { trust_zone: local.name.clone(), remote_trust_zone: remote.name.clone() }
}

fn link(federation: &Federation) -> (EntityKind, String) {
    (EntityKind::Federation, federation.id.to_string())
}

fn snapshot(federation: &Federation) -> Value {
    json!({
        "id": federation.id,
        "org_id": federation.organization_id,
        "trust_zone_id": federation.trust_zone_id,
        "remote_trust_zone_id": federation.remote_trust_zone_id,
    })
}
