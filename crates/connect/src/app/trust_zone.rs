//! Trust zones, and the bundles that they deliver.

use cofide_api::convert::trust_zone::Draft;
use cofide_core::{AuditEvent, Bundle, BundleError, Change, EntityKind, EventKind, Name, TrustDomain, TrustZone, TrustZoneId};
use cofide_store::{ClusterFilter, Clusters, TrustZoneFilter, TrustZones, TrustZonesMut, WriteTransaction};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::App;
use super::audit::{event, now};
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
        let zone = TrustZone {
            id: id::trust_zone(),
            organization_id: self.owner(&mut transaction, "trust_zone.org_id", draft.organization_id).await?,
            name: draft.name,
            trust_domain: draft.trust_domain,
            bundle: draft.bundle,
            bundle_endpoint: draft.bundle_endpoint,
            jwt_issuer: draft.jwt_issuer,
            is_management_zone: false,
            created_at: now(),
            updated_at: now(),
        };
        self.insert_trust_zone(context, transaction, zone).await
    }

    async fn insert_trust_zone(&self, context: &CallContext, mut transaction: WriteTransaction, zone: TrustZone) -> Result<TrustZone> {
        for other in transaction.trust_zones(&TrustZoneFilter::default()).await? {
            if other.name == zone.name {
                return Err(Error::AlreadyExists(format!("a trust zone with the name {} exists already", zone.name)));
            }
            if other.trust_domain == zone.trust_domain {
                let trust_domain = &zone.trust_domain;
                return Err(Error::AlreadyExists(format!("trust domain {trust_domain} belongs to trust zone {} already", other.name)));
            }
        }
        transaction.insert_trust_zone(&zone).await?;
        let message = format!("trust zone {} with trust domain {} created", zone.name, zone.trust_domain);
        let event = event(context, EventKind::TrustZoneCreation, message, [link(&zone)], &snapshot(&zone));
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
            Some(bundle) => Some(accept(&held, bundle, "trust_zone.bundle", Origin::User)?),
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
        transaction.delete_trust_zone(id).await?;
        let message = format!("trust zone {} deleted, with its bindings and federations", zone.name);
        let event = event(context, EventKind::TrustZoneDeletion, message, [link(&zone)], &snapshot(&zone));
        self.commit(transaction, Some(Change::TrustZone(id.clone())), event).await
    }

    /// A zone's own agent delivers the zone's bundle after a rotation; a user replaces it, also by one that has nothing to
    /// do with the one before. `id` may be absent where an agent calls, which has one zone only.
    pub async fn update_trust_zone_bundle(&self, context: &CallContext, id: Option<TrustZoneId>, bundle: Bundle) -> Result<()> {
        let id = match (context.agent(), id) {
            (Some(agent), Some(id)) if id != agent.trust_zone_id => {
                return Err(Error::PermissionDenied(format!(
                    "{} delivers the bundle of its own trust zone and of no other",
                    agent.spiffe_id
                )));
            }
            (Some(agent), _) => agent.trust_zone_id.clone(),
            (None, Some(id)) => id,
            (None, None) => return Err(Error::invalid("trust_zone_id", "must not be empty")),
        };
        let mut transaction = self.write().await?;
        let held = transaction.trust_zone(&id).await?.ok_or_else(|| Error::not_found(NOUN, &id))?;
        if held.is_management_zone {
            return Err(management_zone(&held, "its bundle is that of cofide-connect itself"));
        }
        let origin = if context.agent().is_some() { Origin::Agent } else { Origin::User };
        let bundle = accept(&held, bundle, "bundle", origin)?;
        self.store_bundle(context, transaction, held, bundle).await
    }

    /// Stores a bundle that has been accepted; one that is the same already is no change.
    pub(super) async fn store_bundle(
        &self,
        context: &CallContext,
        mut transaction: WriteTransaction,
        held: TrustZone,
        bundle: Bundle,
    ) -> Result<()> {
        if held.bundle.as_ref() == Some(&bundle) {
            return Ok(());
        }
        let zone = TrustZone { bundle: Some(bundle), updated_at: now(), ..held.clone() };
        transaction.update_trust_zone(&zone).await?;
        let event = new_bundle(context, &held, &zone);
        self.commit(transaction, Some(Change::BundleOf(zone.id.clone())), event).await
    }

    /// The control plane's own zone: made at the first start, and given each bundle of its authority.
    pub async fn publish_management_zone(&self, name: &Name, bundle: Bundle) -> Result<()> {
        let context = CallContext::system();
        let mut transaction = self.write().await?;
        let zones = transaction.trust_zones(&TrustZoneFilter::default()).await?;
        if let Some(held) = zones.into_iter().find(|zone| zone.is_management_zone) {
            if held.trust_domain != bundle.trust_domain {
                return Err(Error::FailedPrecondition(format!(
                    "this data folder belongs to the management trust domain {}, and {} is configured; set connect_trust_domain back, or \
                     use another data folder",
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

/// Every partner receives a zone's bundle, so no zone may make it large. SPIRE keeps a handful of authorities.
const MAX_AUTHORITIES: usize = 128;

fn check_size(path: &str, bundle: &Bundle) -> Result<()> {
    for (list, length) in [("x509_authorities", bundle.x509_authorities.len()), ("jwt_authorities", bundle.jwt_authorities.len())] {
        if length > MAX_AUTHORITIES {
            return Err(Error::invalid(format!("{path}.{list}"), format_args!("has {length} entries, at most {MAX_AUTHORITIES} are kept")));
        }
    }
    Ok(())
}

/// Whose word a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// May replace everything, also by an older bundle: a rebuilt SPIFFE server counts from one and shares nothing.
    User,
    /// One that has joined, or is about to. A join token is a secret that travels, and it is for one cluster; it must not
    /// be enough to put the whole zone under other authorities. So whatever an agent brings follows on the held bundle.
    Agent,
}

/// The bundle that a zone has after it was sent this one: an absent list of authorities leaves the one that is held;
/// hint and sequence number are always taken.
pub(super) fn accept(zone: &TrustZone, mut bundle: Bundle, path: &str, origin: Origin) -> Result<Bundle> {
    if let Some(held) = &zone.bundle {
        if bundle.x509_authorities.is_empty() {
            bundle.x509_authorities.clone_from(&held.x509_authorities);
        }
        if bundle.jwt_authorities.is_empty() {
            bundle.jwt_authorities.clone_from(&held.jwt_authorities);
        }
    }
    check_first(path, &zone.trust_domain, &bundle)?;
    match (&zone.bundle, origin) {
        (Some(held), Origin::Agent) => check_succession(path, zone, held, &bundle)?,
        (Some(_), Origin::User) | (None, _) => {}
    }
    Ok(bundle)
}

/// That an agent's bundle is a later one of the same SPIFFE server: not older, and with an authority in common, as a
/// rotation leaves one.
fn check_succession(path: &str, zone: &TrustZone, held: &Bundle, bundle: &Bundle) -> Result<()> {
    let remedy = || {
        format!(
            "if the SPIFFE server of the zone was rebuilt, an administrator replaces the bundle: cofidectl trust-zone set-bundle {} \
             --bundle-file FILE",
            zone.name
        )
    };
    bundle.may_replace(held).map_err(|error| match error {
        BundleError::OlderSequence { .. } => Error::FailedPrecondition(format!("{path}.sequence_number: {error}; {}", remedy())),
        BundleError::OtherTrustDomain { .. } => Error::invalid(format!("{path}.trust_domain"), error),
        BundleError::NoX509Authority { .. } => Error::invalid(format!("{path}.x509_authorities"), error),
    })?;
    let is_held = |der: &[u8]| held.x509_authorities.iter().any(|authority| authority.der == der);
    if bundle.x509_authorities.iter().any(|authority| is_held(&authority.der)) {
        return Ok(());
    }
    Err(Error::FailedPrecondition(format!(
        "{path}.x509_authorities: none is an authority that trust zone {} has already; {}",
        zone.name,
        remedy()
    )))
}

/// The rules for the first bundle of a zone, and for one that a user vouches for: it is the zone's own and verifies
/// something, and follows no earlier one.
fn check_first(path: &str, expected: &TrustDomain, bundle: &Bundle) -> Result<()> {
    check_size(path, bundle)?;
    if bundle.trust_domain != *expected {
        let (expected, found) = (expected.clone(), bundle.trust_domain.clone());
        return Err(Error::invalid(format!("{path}.trust_domain"), BundleError::OtherTrustDomain { expected, found }));
    }
    if bundle.x509_authorities.is_empty() {
        let trust_domain = bundle.trust_domain.clone();
        return Err(Error::invalid(format!("{path}.x509_authorities"), BundleError::NoX509Authority { trust_domain }));
    }
    Ok(())
}

/// Another bundle decides who is believed in the name of the whole zone: the event names each authority before and after.
pub(super) fn new_bundle(context: &CallContext, held: &TrustZone, zone: &TrustZone) -> AuditEvent {
    let message = format!("trust zone {} has a new bundle", zone.name);
    let data = snapshot_with_authorities(held.bundle.as_ref(), zone);
    event(context, EventKind::TrustZoneUpdate, message, [link(zone)], &data)
}

fn snapshot_with_authorities(before: Option<&Bundle>, zone: &TrustZone) -> Value {
    let mut data = snapshot(zone);
    if before != zone.bundle.as_ref() {
        data["authorities_before"] = fingerprints(before);
        data["authorities_after"] = fingerprints(zone.bundle.as_ref());
    }
    data
}

/// SHA-256, in hexadecimal: of the certificate in DER, as `openssl x509 -fingerprint -sha256` prints it without its
/// colons, and of a JWT key's SubjectPublicKeyInfo.
fn fingerprints(bundle: Option<&Bundle>) -> Value {
    let fingerprint = |der: &[u8]| Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    json!({
        "x509": bundle.map(|bundle| bundle.x509_authorities.iter().map(|authority| fingerprint(&authority.der)).collect::<Vec<_>>())
            .unwrap_or_default(),
        "jwt": bundle.map(|bundle| bundle.jwt_authorities.iter().map(|authority| fingerprint(&authority.public_key)).collect::<Vec<_>>())
            .unwrap_or_default(),
    })
}

pub(super) fn link(zone: &TrustZone) -> (EntityKind, String) {
    (EntityKind::TrustZone, zone.id.to_string())
}

fn snapshot(zone: &TrustZone) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{JwtAuthority, Timestamp, X509Authority};

    fn bundle(trust_domain: &str, x509: &[u8], jwt: &[&str], sequence_number: u64) -> Bundle {
        Bundle {
            x509_authorities: x509.iter().map(|byte| X509Authority { der: vec![*byte], tainted: false }).collect(),
            jwt_authorities: jwt
                .iter()
                .map(|id| JwtAuthority { key_id: (*id).into(), public_key: vec![1], expires_at: 0, tainted: false })
                .collect(),
            sequence_number,
            ..Bundle::empty(TrustDomain::new(trust_domain).unwrap())
        }
    }

    fn zone(bundle: Option<Bundle>) -> TrustZone {
        TrustZone {
            id: "tz-1".parse().unwrap(),
            organization_id: "org-1".parse().unwrap(),
            name: "a".parse().unwrap(),
            trust_domain: TrustDomain::new("a.test").unwrap(),
            bundle,
            bundle_endpoint: None,
            jwt_issuer: None,
            is_management_zone: false,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn absent_lists_leave_what_is_held_and_the_counters_are_always_taken() {
        let held = zone(Some(bundle("a.test", &[1, 2], &["k"], 5)));
        let sent = Bundle { refresh_hint: 30, ..bundle("a.test", &[], &[], 6) };
        let accepted = accept(&held, sent, "bundle", Origin::Agent).unwrap();
        assert_eq!((accepted.x509_authorities.len(), accepted.jwt_authorities.len()), (2, 1));
        assert_eq!((accepted.refresh_hint, accepted.sequence_number), (30, 6));
        let accepted = accept(&held, bundle("a.test", &[2], &[], 0), "bundle", Origin::Agent).unwrap();
        assert_eq!((accepted.x509_authorities.len(), accepted.sequence_number), (1, 0));
    }

    #[test]
    fn a_bundle_of_another_domain_or_an_older_one_is_refused_with_its_field() {
        let held = zone(Some(bundle("a.test", &[1], &[], 5)));
        let message = |sent| accept(&held, sent, "bundle", Origin::Agent).unwrap_err().to_string();
        assert!(message(bundle("b.test", &[1], &[], 6)).starts_with("bundle.trust_domain: "));
        assert!(message(bundle("a.test", &[1], &[], 4)).starts_with("bundle.sequence_number: "));
        assert!(message(bundle("a.test", &[7; MAX_AUTHORITIES + 1], &[], 6)).starts_with("bundle.x509_authorities: has 129"));
        let error = accept(&zone(None), bundle("a.test", &[], &["k"], 1), "bundle", Origin::Agent).unwrap_err();
        assert!(error.to_string().starts_with("bundle.x509_authorities: "), "{error}");
    }

    #[test]
    fn an_agents_bundle_has_an_authority_in_common_and_a_users_need_not() {
        let held = zone(Some(bundle("a.test", &[1, 2], &[], 5)));
        let rebuilt = bundle("a.test", &[3], &[], 1);
        assert_eq!(accept(&held, rebuilt.clone(), "bundle", Origin::User).unwrap(), rebuilt);
        for foreign in [bundle("a.test", &[3], &[], 6), bundle("a.test", &[3, 4], &[], 0)] {
            let error = accept(&held, foreign, "bundle", Origin::Agent).unwrap_err();
            assert!(matches!(error, Error::FailedPrecondition(_)), "{error}");
            assert!(error.to_string().contains("cofidectl trust-zone set-bundle a --bundle-file FILE"), "{error}");
        }
        accept(&held, bundle("a.test", &[2, 3], &[], 6), "bundle", Origin::Agent).expect("a rotation");
        let error = accept(&held, bundle("b.test", &[3], &[], 6), "bundle", Origin::User).unwrap_err();
        assert!(error.to_string().starts_with("bundle.trust_domain: "), "{error}");
    }
}
