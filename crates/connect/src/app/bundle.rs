//! The bundles that trust zones deliver: who may replace one by which, and what the audit log keeps of it.

use cofide_core::{AuditEvent, Bundle, BundleEndpoint, BundleError, Change, EventKind, TrustDomain, TrustZone, TrustZoneId};
use cofide_store::{TrustZoneFilter, TrustZones, TrustZonesMut, WriteTransaction};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::App;
use super::audit::{event, now};
use super::trust_zone::{NOUN, link, management_zone, snapshot};
use crate::caller::CallContext;
use crate::error::{Error, Result};

impl App {
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
        if origin == Origin::User {
            check_apart(&mut transaction, "bundle", Some(&held), &bundle).await?;
        }
        self.store_bundle(context, transaction, held, bundle).await
    }

    /// The bundle that Connect itself has fetched from a zone's bundle endpoint, unless the zone has another one by now.
    pub async fn take_fetched_bundle(&self, id: &TrustZoneId, from: &BundleEndpoint, bundle: Bundle) -> Result<()> {
        let mut transaction = self.write().await?;
        let Some(held) = transaction.trust_zone(id).await?.filter(|zone| zone.bundle_endpoint.as_ref() == Some(from)) else {
            return Ok(());
        };
        let bundle = accept(&held, bundle, "bundle", Origin::Endpoint)?;
        self.store_bundle(&CallContext::system(), transaction, held, bundle).await
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
    /// The bundle endpoint of the zone, whose server was verified. It may change all authorities at once, as the zone itself
    /// may, but never goes back.
    Endpoint,
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
        // Whoever has the bundle from the Workload API knows no number. What says nothing new needs none.
        (Some(held), Origin::Agent) if bundle.sequence_number == 0 && bundle.same_authorities(held) => return Ok(held.clone()),
        (Some(held), Origin::Agent) => check_succession(path, zone, held, &bundle)?,
        (Some(held), Origin::Endpoint) => check_not_older(path, zone, held, &bundle)?,
        (Some(_), Origin::User) | (None, _) => {}
    }
    Ok(bundle)
}

/// That an agent's bundle is a later one of the same SPIFFE server: not older, and with an authority in common, as a
/// rotation leaves one.
fn check_succession(path: &str, zone: &TrustZone, held: &Bundle, bundle: &Bundle) -> Result<()> {
    check_not_older(path, zone, held, bundle)?;
    let is_held = |der: &[u8]| held.x509_authorities.iter().any(|authority| authority.der == der);
    if bundle.x509_authorities.iter().any(|authority| is_held(&authority.der)) {
        return Ok(());
    }
    Err(Error::FailedPrecondition(format!(
        "{path}.x509_authorities: none is an authority that trust zone {} has already; {}",
        zone.name,
        replacement(zone)
    )))
}

/// The way out for a zone whose issuer began anew.
fn replacement(zone: &TrustZone) -> String {
    format!(
        "if the SPIFFE server of the zone was rebuilt, an administrator replaces the bundle: cofidectl trust-zone set-bundle {} --bundle-file \
         FILE",
        zone.name
    )
}

fn check_not_older(path: &str, zone: &TrustZone, held: &Bundle, bundle: &Bundle) -> Result<()> {
    bundle.may_replace(held).map_err(|error| match error {
        BundleError::OlderSequence { .. } => Error::FailedPrecondition(format!("{path}.sequence_number: {error}; {}", replacement(zone))),
        BundleError::OtherTrustDomain { .. } => Error::invalid(format!("{path}.trust_domain"), error),
        BundleError::NoX509Authority { .. } => Error::invalid(format!("{path}.x509_authorities"), error),
    })
}

/// That no new authority of a user's bundle is one of another zone, as it is when the file of that zone was taken.
///
/// Agents are not asked: zones whose SPIFFE servers have one upstream authority share it by what they are, and a zone must
/// not be able to keep another from joining by claiming its public certificate first.
pub(super) async fn check_apart(transaction: &mut WriteTransaction, path: &str, held: Option<&TrustZone>, bundle: &Bundle) -> Result<()> {
    let has = |bundle: Option<&Bundle>, der: &[u8]| bundle.is_some_and(|bundle| bundle.x509_authorities.iter().any(|one| one.der == der));
    let zones = transaction.trust_zones(&TrustZoneFilter::default()).await?;
    for (index, authority) in bundle.x509_authorities.iter().enumerate() {
        if has(held.and_then(|zone| zone.bundle.as_ref()), &authority.der) {
            continue;
        }
        let is_other = |zone: &&TrustZone| held.is_none_or(|held| held.id != zone.id) && has(zone.bundle.as_ref(), &authority.der);
        if let Some(other) = zones.iter().find(is_other) {
            return Err(Error::invalid(
                format!("{path}.x509_authorities[{index}]"),
                format_args!(
                    "is an authority of trust zone {} ({}); take the bundle of {}",
                    other.name, other.trust_domain, bundle.trust_domain
                ),
            ));
        }
    }
    Ok(())
}

/// The trust domain that an authority says it is of (X509-SVID, section 3.1: it should), where that is not `expected`.
fn other_domain(der: &[u8], expected: &TrustDomain) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let mut spiffe = names.flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    });
    let found = spiffe.find(|rest| rest.split('/').next() != Some(expected.as_str()))?;
    Some(format!("spiffe://{found}"))
}

/// The rules for the first bundle of a zone, and for one that a user vouches for: it is the zone's own and verifies
/// something, and follows no earlier one.
pub(super) fn check_first(path: &str, expected: &TrustDomain, bundle: &Bundle) -> Result<()> {
    check_size(path, bundle)?;
    if bundle.trust_domain != *expected {
        let (expected, found) = (expected.clone(), bundle.trust_domain.clone());
        return Err(Error::invalid(format!("{path}.trust_domain"), BundleError::OtherTrustDomain { expected, found }));
    }
    if bundle.x509_authorities.is_empty() {
        let trust_domain = bundle.trust_domain.clone();
        return Err(Error::invalid(format!("{path}.x509_authorities"), BundleError::NoX509Authority { trust_domain }));
    }
    for (index, authority) in bundle.x509_authorities.iter().enumerate() {
        if let Some(named) = other_domain(&authority.der, expected) {
            let field = format!("{path}.x509_authorities[{index}]");
            return Err(Error::invalid(field, format_args!("is the authority of {named}, and the bundle is that of {expected}")));
        }
    }
    Ok(())
}

/// Another bundle decides who is believed in the name of the whole zone: the event names each authority before and after.
pub(super) fn new_bundle(context: &CallContext, held: &TrustZone, zone: &TrustZone) -> AuditEvent {
    let message = format!("trust zone {} has a new bundle", zone.name);
    let data = snapshot_with_authorities(held.bundle.as_ref(), zone);
    event(context, EventKind::TrustZoneUpdate, message, [link(zone)], &data)
}

pub(super) fn snapshot_with_authorities(before: Option<&Bundle>, zone: &TrustZone) -> Value {
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
    let fingerprint = |der: &[u8]| hex::encode(Sha256::digest(der));
    json!({
        "x509": bundle.map(|bundle| bundle.x509_authorities.iter().map(|authority| fingerprint(&authority.der)).collect::<Vec<_>>())
            .unwrap_or_default(),
        "jwt": bundle.map(|bundle| bundle.jwt_authorities.iter().map(|authority| fingerprint(&authority.public_key)).collect::<Vec<_>>())
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{JwtAuthority, X509Authority};

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
        TrustZone { bundle, ..cofide_test_objects::zone("a") }
    }

    #[test]
    fn absent_lists_leave_what_is_held_and_the_counters_are_always_taken() {
        let held = zone(Some(bundle("a.test", &[1, 2], &["k"], 5)));
        let sent = Bundle { refresh_hint: 30, ..bundle("a.test", &[], &[], 6) };
        let accepted = accept(&held, sent, "bundle", Origin::Agent).unwrap();
        assert_eq!((accepted.x509_authorities.len(), accepted.jwt_authorities.len()), (2, 1));
        assert_eq!((accepted.refresh_hint, accepted.sequence_number), (30, 6));
        let accepted = accept(&held, bundle("a.test", &[2], &[], 0), "bundle", Origin::User).unwrap();
        assert_eq!((accepted.x509_authorities.len(), accepted.sequence_number), (1, 0));
    }

    #[test]
    fn a_bundle_of_another_domain_or_an_older_one_is_refused_with_its_field() {
        let held = zone(Some(bundle("a.test", &[1], &[], 5)));
        let message = |sent| accept(&held, sent, "bundle", Origin::Agent).unwrap_err().to_string();
        assert!(message(bundle("b.test", &[1], &[], 6)).starts_with("bundle.trust_domain: "));
        for (authorities, older) in [(&[1], 4), (&[2], 4), (&[2], 0)] {
            assert!(message(bundle("a.test", authorities, &[], older)).starts_with("bundle.sequence_number: "));
        }
        assert!(message(bundle("a.test", &[7; MAX_AUTHORITIES + 1], &[], 6)).starts_with("bundle.x509_authorities: has 129"));
        let error = accept(&zone(None), bundle("a.test", &[], &["k"], 1), "bundle", Origin::Agent).unwrap_err();
        assert!(error.to_string().starts_with("bundle.x509_authorities: "), "{error}");
    }

    #[test]
    fn a_bundle_without_a_number_that_says_nothing_new_changes_nothing() {
        let held = bundle("a.test", &[1, 2], &["k"], 5);
        let accepted = accept(&zone(Some(held.clone())), bundle("a.test", &[2, 1], &[], 0), "bundle", Origin::Agent).unwrap();
        assert_eq!(accepted, held);
    }

    #[test]
    fn an_endpoint_may_change_all_authorities_and_never_goes_back() {
        let held = zone(Some(bundle("a.test", &[1, 2], &[], 5)));
        let anew = bundle("a.test", &[3], &[], 6);
        assert_eq!(accept(&held, anew.clone(), "bundle", Origin::Endpoint).unwrap(), anew);
        for older in [4, 0] {
            let error = accept(&held, bundle("a.test", &[1], &[], older), "bundle", Origin::Endpoint).unwrap_err();
            assert!(error.to_string().starts_with("bundle.sequence_number: "), "{error}");
        }
        let error = accept(&held, bundle("b.test", &[3], &[], 6), "bundle", Origin::Endpoint).unwrap_err();
        assert!(error.to_string().starts_with("bundle.trust_domain: "), "{error}");
    }

    #[test]
    fn an_agents_bundle_has_an_authority_in_common_and_a_users_need_not() {
        let held = zone(Some(bundle("a.test", &[1, 2], &[], 5)));
        let rebuilt = bundle("a.test", &[3], &[], 1);
        assert_eq!(accept(&held, rebuilt.clone(), "bundle", Origin::User).unwrap(), rebuilt);
        for foreign in [bundle("a.test", &[3], &[], 6), bundle("a.test", &[3, 4], &[], 7)] {
            let error = accept(&held, foreign, "bundle", Origin::Agent).unwrap_err();
            assert!(matches!(error, Error::FailedPrecondition(_)), "{error}");
            assert!(error.to_string().contains("cofidectl trust-zone set-bundle a --bundle-file FILE"), "{error}");
        }
        accept(&held, bundle("a.test", &[2, 3], &[], 6), "bundle", Origin::Agent).expect("a rotation");
        let error = accept(&held, bundle("b.test", &[3], &[], 6), "bundle", Origin::User).unwrap_err();
        assert!(error.to_string().starts_with("bundle.trust_domain: "), "{error}");
    }
}
