//! Trust zones. Their bundles have rules of their own: [`super::bundle`].

use cofide_api::convert::trust_zone::Draft;
use cofide_core::{AuditEvent, Bundle, BundleEndpoint, BundleEndpointProfile, Change, EntityKind, EventKind, Name, TrustZone, TrustZoneId};
use cofide_store::{ClusterFilter, Clusters, FederationFilter, Federations, TrustZoneFilter, TrustZones, TrustZonesMut, WriteTransaction};
use serde_json::{Value, json};

use super::App;
use super::attestation_policy_binding::matched_by_patterns;
use super::audit::{event, now};
use super::bundle::{Origin, accept, check_apart, check_first, snapshot_with_authorities};
use super::federation::LOSES;
use crate::caller::CallContext;
use crate::error::{Error, Result};
use crate::id;

pub(super) const NOUN: &str = "trust zone";

impl App {
    pub async fn trust_zone(&self, id: &TrustZoneId) -> Result<TrustZone> {
        self.read().await?.trust_zone(id).await?.ok_or_else(|| Error::not_found(NOUN, id))
    }

    pub async fn trust_zones(&self, filter: &TrustZoneFilter) -> Result<Vec<TrustZone>> {
        Ok(self.read().await?.trust_zones(filter).await?)
    }

    pub async fn create_trust_zone(&self, context: &CallContext, draft: Draft) -> Result<TrustZone> {
        assigned_by_connect("trust_zone.id", draft.id.as_ref())?;
        if draft.is_management_zone {
            return Err(Error::invalid("trust_zone.is_management_zone", "there is one management zone, and cofide-connect made it"));
        }
        if let Some(bundle) = &draft.bundle {
            check_first("trust_zone.bundle", &draft.trust_domain, bundle)?;
        }
        let mut transaction = self.write().await?;
        if let Some(bundle) = &draft.bundle {
            check_apart(&mut transaction, "trust_zone.bundle", None, bundle).await?;
        }
        let published = self.settings.bundle_endpoint_url.as_ref().map(|url| published_at(url, &draft.name));
        let zone = TrustZone {
            id: id::trust_zone(),
            organization_id: self.owner(&mut transaction, "trust_zone.org_id", draft.organization_id).await?,
            name: draft.name,
            trust_domain: draft.trust_domain,
            bundle: draft.bundle,
            bundle_endpoint: draft.bundle_endpoint.or(published),
            jwt_issuer: draft.jwt_issuer,
            is_management_zone: false,
            created_at: now(),
            updated_at: now(),
        };
        self.insert_trust_zone(context, transaction, zone).await
    }

    async fn insert_trust_zone(&self, context: &CallContext, mut transaction: WriteTransaction, zone: TrustZone) -> Result<TrustZone> {
        let event = new_trust_zone(context, &mut transaction, &zone).await?;
        self.commit(transaction, Some(Change::TrustZone(zone.id.clone())), event).await?;
        Ok(zone)
    }

    /// Name, trust domain and organization may be repeated and cannot change. What is absent stays as it is: agents and
    /// Connect itself fill in much of a zone, and a client that does not know of it must not erase it.
    pub async fn update_trust_zone(&self, context: &CallContext, draft: Draft) -> Result<TrustZone> {
        let id = required("trust_zone.id", draft.id)?;
        let mut transaction = self.write().await?;
        let held = transaction.trust_zone(&id).await?.ok_or_else(|| Error::not_found(NOUN, &id))?;
        immutable("trust_zone.name", Some(&draft.name), &held.name)?;
        immutable("trust_zone.trust_domain", Some(&draft.trust_domain), &held.trust_domain)?;
        immutable("trust_zone.org_id", draft.organization_id.as_ref(), &held.organization_id)?;
        if draft.is_management_zone && !held.is_management_zone {
            return Err(Error::invalid("trust_zone.is_management_zone", "is fixed at creation"));
        }
        let bundle = match draft.bundle {
            Some(bundle) if held.is_management_zone && held.bundle.as_ref() != Some(&bundle) => {
                return Err(management_zone(&held, "its bundle is that of cofide-connect itself"));
            }
            Some(bundle) => {
                let bundle = accept(&held, bundle, "trust_zone.bundle", Origin::User)?;
                check_apart(&mut transaction, "trust_zone.bundle", Some(&held), &bundle).await?;
                Some(bundle)
            }
            None => held.bundle.clone(),
        };
        let zone = TrustZone {
            bundle,
            bundle_endpoint: draft.bundle_endpoint.or_else(|| held.bundle_endpoint.clone()),
            jwt_issuer: draft.jwt_issuer.or_else(|| held.jwt_issuer.clone()),
            ..held.clone()
        };
        if zone == held {
            return Ok(held);
        }
        let zone = TrustZone { updated_at: now(), ..zone };
        transaction.update_trust_zone(&zone).await?;
        let message = format!("trust zone {} updated", zone.name);
        let data = snapshot_with_authorities(held.bundle.as_ref(), &zone);
        let event = event(context, EventKind::TrustZoneUpdate, message, [link(&zone)], &data);
        self.commit(transaction, Some(Change::TrustZone(zone.id.clone())), event).await?;
        Ok(zone)
    }

    /// Takes the zone's bindings and its federations on either side with it; its clusters have to go first.
    pub async fn destroy_trust_zone(&self, context: &CallContext, id: &TrustZoneId) -> Result<()> {
        let mut transaction = self.write().await?;
        let zone = transaction.trust_zone(id).await?.ok_or_else(|| Error::not_found(NOUN, id))?;
        if zone.is_management_zone {
            return Err(management_zone(&zone, "it cannot be removed"));
        }
        let clusters = transaction.clusters(&ClusterFilter { trust_zone_id: Some(id.clone()), ..ClusterFilter::default() }).await?;
        if let Some(first) = clusters.first() {
            let names: Vec<_> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
            return Err(Error::FailedPrecondition(format!(
                "trust zone {zone} still has clusters ({clusters}); remove them first: cofidectl cluster del {first} --trust-zone {zone}",
                zone = zone.name,
                clusters = names.join(", "),
                first = first.name,
            )));
        }
        let trusting = FederationFilter { remote_trust_zone_id: Some(id.clone()), ..FederationFilter::default() };
        let (mut names, mut losses) = (Vec::new(), Vec::new());
        for federation in transaction.federations(&trusting).await? {
            if let Some(other) = transaction.trust_zone(&federation.trust_zone_id).await? {
                losses.extend(matched_by_patterns(&mut transaction, context, &other, &zone, LOSES).await?);
                names.push(other.name.to_string());
            }
        }
        names.sort();
        let trusted = if names.is_empty() { String::new() } else { format!("; {} trusted it until now", names.join(" and ")) };
        let message = format!("trust zone {} deleted, with its bindings and federations{trusted}", zone.name);
        let mut events = losses;
        // The newest event is the deletion.
        events.push(event(context, EventKind::TrustZoneDeletion, message, [link(&zone)], &snapshot(&zone)));
        transaction.delete_trust_zone(id).await?;
        self.commit_with(transaction, Some(Change::TrustZone(id.clone())), events).await
    }

    /// The control plane's own zone: made at the first start, and given each bundle of its authority.
    pub async fn publish_management_zone(&self, name: &Name, bundle: Bundle) -> Result<()> {
        let context = CallContext::system();
        let mut transaction = self.write().await?;
        let zones = transaction.trust_zones(&TrustZoneFilter::default()).await?;
        if let Some(held) = zones.into_iter().find(|zone| zone.is_management_zone) {
            if held.trust_domain != bundle.trust_domain {
                return Err(Error::FailedPrecondition(format!(
                    "this database belongs to the management trust domain {}, and {} is configured; set connect_trust_domain back, or use \
                     another data folder or database",
                    held.trust_domain, bundle.trust_domain
                )));
            }
            return self.store_bundle(&context, transaction, held, bundle).await;
        }
        let zone = TrustZone {
            id: id::trust_zone(),
            organization_id: self.settings.organization_id.clone(),
            name: name.clone(),
            trust_domain: bundle.trust_domain.clone(),
            bundle: Some(bundle),
            bundle_endpoint: None,
            jwt_issuer: None,
            is_management_zone: true,
            created_at: now(),
            updated_at: now(),
        };
        self.insert_trust_zone(&context, transaction, zone).await.map(drop)
    }
}

/// Inserts the zone, unless its name or its trust domain is taken; answers the event about it.
pub(super) async fn new_trust_zone(context: &CallContext, transaction: &mut WriteTransaction, zone: &TrustZone) -> Result<AuditEvent> {
    for other in transaction.trust_zones(&TrustZoneFilter::default()).await? {
        if other.name == zone.name {
            return Err(Error::AlreadyExists(format!("a trust zone with the name {} exists already", zone.name)));
        }
        if other.trust_domain == zone.trust_domain {
            let trust_domain = &zone.trust_domain;
            return Err(Error::AlreadyExists(format!("trust domain {trust_domain} belongs to trust zone {} already", other.name)));
        }
    }
    transaction.insert_trust_zone(zone).await?;
    let message = format!("trust zone {} with trust domain {} created", zone.name, zone.trust_domain);
    Ok(event(context, EventKind::TrustZoneCreation, message, [link(zone)], &snapshot(zone)))
}

/// Where the bundle of a zone is found below the URL of the bundle endpoint.
fn published_at(url: &str, zone: &Name) -> BundleEndpoint {
    BundleEndpoint {
        url: format!("{}/{zone}/bundle", url.trim_end_matches('/')),
        profile: BundleEndpointProfile::HttpsWeb,
        spiffe_id: None,
    }
}

pub(super) fn management_zone(zone: &TrustZone, why: &str) -> Error {
    Error::FailedPrecondition(format!("trust zone {} is the control plane's own: {why}", zone.name))
}

/// A field that cannot change: it may be left out or repeated.
pub(super) fn immutable<T: PartialEq + std::fmt::Display>(path: &str, given: Option<&T>, held: &T) -> Result<()> {
    match given {
        Some(given) if given != held => Err(Error::invalid(path, format_args!("is {held} and cannot change to {given}"))),
        _ => Ok(()),
    }
}

/// An id that a client brings along to a creation.
pub(super) fn assigned_by_connect<T>(path: &str, given: Option<&T>) -> Result<()> {
    match given {
        Some(_) => Err(Error::invalid(path, "is assigned by Connect; leave it out")),
        None => Ok(()),
    }
}

pub(super) fn required<T>(path: &str, given: Option<T>) -> Result<T> {
    given.ok_or_else(|| Error::invalid(path, "must be set"))
}

pub(super) fn link(zone: &TrustZone) -> (EntityKind, String) {
    (EntityKind::TrustZone, zone.id.to_string())
}

pub(super) fn snapshot(zone: &TrustZone) -> Value {
    json!({
        "id": zone.id,
        "org_id": zone.organization_id,
        "name": zone.name,
        "trust_domain": zone.trust_domain.as_str(),
        "is_management_zone": zone.is_management_zone,
        "jwt_issuer": zone.jwt_issuer,
        "bundle_endpoint": zone.bundle_endpoint.as_ref().map(|endpoint| json!({
            "url": endpoint.url,
            "profile": endpoint.profile.as_str(),
        })),
        "bundle": zone.bundle.as_ref().map(|bundle| json!({
            "sequence_number": bundle.sequence_number,
            "x509_authorities": bundle.x509_authorities.len(),
            "jwt_authorities": bundle.jwt_authorities.len(),
        })),
    })
}
