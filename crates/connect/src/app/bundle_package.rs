//! Signed bundles, out and in: the one way of trust that needs no connection.
//!
//! A package proves itself by its signer's key alone, so that key is pinned with the first one and never exchanged by
//! another package. Each package has a higher sequence number than the one before; an old one is a replay.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_core::{BundlePackageRecord, Change, EventKind, Name, PinnedSigner, Timestamp, TrustZone, TrustZoneId};
use cofide_store::{
    BundlePackages, BundlePackagesMut, ClusterFilter, Clusters, TrustZoneFilter, TrustZones, TrustZonesMut, WriteTransaction,
};
use cofide_svid::bundle::package::{BundlePackage, PackageSigner, SignerKey};
use serde_json::json;

use super::App;
use super::audit::{event, now};
use super::bundle::{Origin, accept, check_apart, check_first, new_bundle};
use super::trust_zone::{NOUN, link, management_zone, new_trust_zone};
use crate::caller::CallContext;
use crate::error::{Error, Result};
use crate::id;

const DEFAULT_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
const LONGEST_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// A package that was signed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    pub package: String,
    pub signer: SignerKey,
    pub sequence: u64,
    pub expires_at: Timestamp,
}

/// What a user brings.
#[derive(Clone, Debug)]
pub struct Import {
    pub package: String,
    pub signer: Option<SignerKey>,
    pub name: Option<Name>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    pub zone: TrustZone,
    pub sequence: u64,
    pub expires_at: Timestamp,
}

impl App {
    pub async fn export_bundle_package(&self, context: &CallContext, id: &TrustZoneId, ttl: Option<Duration>) -> Result<Exported> {
        let ttl = ttl.unwrap_or(DEFAULT_TTL);
        if ttl.is_zero() || ttl > LONGEST_TTL {
            return Err(Error::invalid("ttl", "must be more than nothing and at most 365 days"));
        }
        let mut transaction = self.write().await?;
        let zone = transaction.trust_zone(id).await?.ok_or_else(|| Error::not_found(NOUN, id))?;
        let Some(bundle) = zone.bundle.clone() else {
            return Err(Error::FailedPrecondition(format!(
                "trust zone {} has not delivered its bundle yet; join an agent to one of its clusters first",
                zone.name
            )));
        };
        let held = transaction.bundle_package_record(id).await?;
        let record = held.unwrap_or_else(|| BundlePackageRecord { trust_zone_id: id.clone(), exported_sequence: 0, signer: None });
        let record = BundlePackageRecord { exported_sequence: record.exported_sequence + 1, ..record };
        let signer: Arc<PackageSigner> = self.settings.package_signer.clone();
        let issued_at = SystemTime::now();
        let package = BundlePackage {
            issuer: self.hub.spiffe_id().to_string(),
            bundle,
            sequence: record.exported_sequence,
            issued_at,
            expires_at: issued_at + ttl,
        };
        let signed = signer.sign(&package).map_err(|error| Error::internal("cannot sign the bundle package", error))?;
        transaction.put_bundle_package_record(&record).await?;
        let message = format!("bundle package {} of trust zone {} signed", record.exported_sequence, zone.name);
        let data = json!({
            "trust_zone_id": zone.id,
            "package_sequence_number": record.exported_sequence,
            "bundle_sequence_number": package.bundle.sequence_number,
            "expires_at": Timestamp::from(package.expires_at).as_seconds(),
            "signer": signer.public_key().fingerprint(),
        });
        let event = event(context, EventKind::TrustZoneUpdate, message, [link(&zone)], &data);
        self.commit(transaction, None, event).await?;
        Ok(Exported {
            package: signed,
            signer: signer.public_key().clone(),
            sequence: record.exported_sequence,
            expires_at: package.expires_at.into(),
        })
    }

    /// The first package of a partner makes a trust zone for it and pins the signer; later ones bring its rotations.
    pub async fn import_bundle_package(&self, context: &CallContext, import: Import) -> Result<Imported> {
        let mut transaction = self.write().await?;
        let (package, signer, held) = self.opened(&mut transaction, &import).await?;
        let BundlePackage { bundle, sequence, expires_at, .. } = package;
        let record = |trust_zone_id: &TrustZoneId, exported_sequence| BundlePackageRecord {
            trust_zone_id: trust_zone_id.clone(),
            exported_sequence,
            signer: Some(PinnedSigner { public_key: signer.spki().to_vec(), sequence }),
        };
        let mut events = Vec::new();
        let (zone, change) = match held {
            None => {
                check_first("package.bundle", &bundle.trust_domain, &bundle)?;
                check_apart(&mut transaction, "package.bundle", None, &bundle).await?;
                let name = match import.name {
                    Some(name) => name,
                    None => bundle.trust_domain.as_str().parse().map_err(|error| Error::invalid("name", error))?,
                };
                let zone = TrustZone {
                    id: id::trust_zone(),
                    organization_id: self.settings.organization_id.clone(),
                    name,
                    trust_domain: bundle.trust_domain.clone(),
                    bundle: Some(bundle),
                    bundle_endpoint: None,
                    jwt_issuer: None,
                    is_management_zone: false,
                    created_at: now(),
                    updated_at: now(),
                };
                events.push(new_trust_zone(context, &mut transaction, &zone).await?);
                transaction.put_bundle_package_record(&record(&zone.id, 0)).await?;
                let change = Some(Change::TrustZone(zone.id.clone()));
                (zone, change)
            }
            Some((held, exported_sequence)) => {
                let bundle = accept(&held, bundle, "package.bundle", Origin::Endpoint)?;
                transaction.put_bundle_package_record(&record(&held.id, exported_sequence)).await?;
                if held.bundle.as_ref() == Some(&bundle) {
                    (held, None)
                } else {
                    let zone = TrustZone { bundle: Some(bundle), updated_at: now(), ..held.clone() };
                    transaction.update_trust_zone(&zone).await?;
                    events.push(new_bundle(context, &held, &zone));
                    let change = Some(Change::BundleOf(zone.id.clone()));
                    (zone, change)
                }
            }
        };
        let message = format!("bundle package {sequence} of {} imported", zone.trust_domain);
        let data = json!({ "trust_zone_id": zone.id, "package_sequence_number": sequence, "signer": signer.fingerprint() });
        events.push(event(context, EventKind::TrustZoneUpdate, message, [link(&zone)], &data));
        self.commit_with(transaction, change, events).await?;
        Ok(Imported { zone, sequence, expires_at: expires_at.into() })
    }

    /// The package, verified; its signer; and the zone that it is about, with the number of the last package that was
    /// exported of it, where there is one.
    async fn opened(
        &self,
        transaction: &mut WriteTransaction,
        import: &Import,
    ) -> Result<(BundlePackage, SignerKey, Option<(TrustZone, u64)>)> {
        let refused = |error: cofide_svid::bundle::package::PackageError| Error::invalid("package", error);
        // Whose it claims to be is read only to find the key that decides.
        let claimed = cofide_svid::bundle::package::claimed_trust_domain(&import.package).map_err(refused)?;
        let filter = TrustZoneFilter { trust_domain: Some(claimed.clone()), ..TrustZoneFilter::default() };
        let zone = transaction.trust_zones(&filter).await?.pop();
        let record = match &zone {
            Some(zone) => transaction.bundle_package_record(&zone.id).await?,
            None => None,
        };
        let pinned = record.as_ref().and_then(|record| record.signer.as_ref());
        let signer = match (pinned, &import.signer) {
            (None, None) => {
                return Err(Error::invalid(
                    "signer_public_key",
                    format_args!("is needed with the first package of {claimed}: whose signature would be taken otherwise?"),
                ));
            }
            (None, Some(given)) => given.clone(),
            (Some(pinned), given) => {
                let pinned =
                    SignerKey::from_spki(pinned.public_key.clone()).map_err(|error| Error::internal("a pinned key is damaged", error))?;
                if given.as_ref().is_some_and(|given| *given != pinned) {
                    return Err(Error::FailedPrecondition(format!(
                        "signer_public_key: the packages of {claimed} are signed by key {}, and this is another; where the partner really \
                         has a new one, remove the trust zone and import it anew",
                        pinned.fingerprint()
                    )));
                }
                pinned
            }
        };
        let package = signer.open(&import.package, SystemTime::now()).map_err(refused)?;
        if i64::try_from(package.sequence).is_err() {
            return Err(Error::invalid("package", "its sequence number is too large"));
        }
        if let Some(last) = pinned.map(|pinned| pinned.sequence)
            && package.sequence <= last
        {
            return Err(Error::FailedPrecondition(format!(
                "package: it has sequence number {}, and package {last} of {claimed} was imported already; ask for a newer one",
                package.sequence
            )));
        }
        let Some(zone) = zone else { return Ok((package, signer, None)) };
        if zone.is_management_zone {
            return Err(management_zone(&zone, "its bundle is that of cofide-connect itself"));
        }
        let clusters = ClusterFilter { trust_zone_id: Some(zone.id.clone()), ..ClusterFilter::default() };
        if !transaction.clusters(&clusters).await?.is_empty() {
            return Err(Error::FailedPrecondition(format!(
                "package: trust zone {} has clusters here, and their agents deliver its bundle",
                zone.name
            )));
        }
        let exported = record.map_or(0, |record| record.exported_sequence);
        Ok((package, signer, Some((zone, exported))))
    }
}
