//! `cofidectl trust-zone`

use std::path::Path;

use cofide_api::connect::bundle_package_service::ExportBundlePackageRequest;
use cofide_api::connect::cluster_service::DestroyClusterRequest;
use cofide_api::connect::federation_service::{ListFederationsRequest, list_federations_request};
use cofide_api::connect::trust_zone_service::{
    CreateTrustZoneRequest, DestroyTrustZoneRequest, GetTrustZoneRequest, UpdateTrustZoneBundleRequest,
};
use cofide_api::convert::from_timestamp;
use cofide_api::types::trust_zone::{BundleEndpointProfile, TrustZone};
use cofide_core::{Bundle, parse_trust_domain};
use cofide_runtime::files::{self, Mode};
use cofide_svid::bundle::package::SignerKey;
use cofide_svid::bundle::to_jwks;

use super::bundle_file;
use crate::args::trust_zone::{AddArgs, DelArgs, ExportBundleArgs, GetArgs, SetBundleArgs, TrustZoneCommand};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{clusters, trust_zones};
use crate::time::format_moment;
use crate::view::trust_zone::{TrustZoneView, TrustZonesView};

pub(super) async fn run(command: TrustZoneCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        TrustZoneCommand::Add(args) => add(args, connection, printer).await,
        TrustZoneCommand::List => list(connection, printer).await,
        TrustZoneCommand::Get(args) => get(args, connection, printer).await,
        TrustZoneCommand::SetBundle(args) => set_bundle(args, connection, printer).await,
        TrustZoneCommand::ExportBundle(args) => export_bundle(args, connection, printer).await,
        TrustZoneCommand::Del(args) => del(args, connection, printer).await,
    }
}

async fn add(args: AddArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let profile = match args.bundle_endpoint_profile {
        cofide_core::BundleEndpointProfile::HttpsSpiffe => BundleEndpointProfile::HttpsSpiffe,
        cofide_core::BundleEndpointProfile::HttpsWeb => BundleEndpointProfile::HttpsWeb,
    };
    let trust_zone = TrustZone {
        name: args.name.to_string(),
        trust_domain: args.trust_domain.to_string(),
        jwt_issuer: args.jwt_issuer,
        bundle_endpoint_url: args.bundle_endpoint_url,
        bundle_endpoint_profile: Some(profile.into()),
        ..TrustZone::default()
    };
    let request = CreateTrustZoneRequest { trust_zone: Some(trust_zone) };
    let answer = call(connection.trust_zones().create_trust_zone(request)).await?;
    let view = TrustZoneView::new(&answer.trust_zone.unwrap_or_default(), []);
    let endpoint = match (&view.bundle_endpoint_url, view.bundle_endpoint_profile) {
        (Some(url), Some(profile)) => format!(" and bundle endpoint {url} ({profile})"),
        _ => String::new(),
    };
    printer.done(&format!("created trust zone {} with trust domain {}{endpoint}", view.name, view.trust_domain), &view)
}

async fn list(connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let clusters = clusters(connection, None).await?;
    printer.show(&TrustZonesView(zones.iter().map(|zone| TrustZoneView::new(zone, clusters.iter())).collect()))
}

async fn get(args: GetArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let request = GetTrustZoneRequest { trust_zone_id: zones.find(&args.name)?.id.clone() };
    let zone = call(connection.trust_zones().get_trust_zone(request)).await?.trust_zone.unwrap_or_default();
    let clusters = clusters(connection, Some(&zone)).await?;
    printer.show(&TrustZoneView::new(&zone, clusters.iter()))
}

async fn set_bundle(args: SetBundleArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.name)?;
    let trust_domain = parse_trust_domain(&zone.trust_domain)
        .map_err(|error| Error::failed(format!("Connect sent a trust zone that cannot be used: {error}")))?;
    let bundle = bundle_file::read(&args.bundle_file, &trust_domain)?;
    let held = zone.bundle.as_ref().map_or(&[][..], |held| &held.x509_authorities);
    let stays = bundle.x509_authorities.iter().any(|authority| held.iter().any(|held| held.asn1 == authority.der));
    if !held.is_empty() && !stays && !args.force && !zone.is_management_zone {
        return Err(Error::failed(format!(
            "{} has no X.509 authority that trust zone {} has already: every present identity of the zone would be refused from then on",
            args.bundle_file.display(),
            zone.name
        ))
        .hint("nothing was changed; if it is the bundle of the zone's own SPIFFE server, and that was rebuilt, repeat it with --force"));
    }
    let request = UpdateTrustZoneBundleRequest { bundle: Some((&bundle).into()), trust_zone_id: zone.id().to_owned() };
    call(connection.trust_zones().update_trust_zone_bundle(request)).await?;
    let count = bundle.x509_authorities.len();
    let authorities = if count == 1 { "authority" } else { "authorities" };
    printer.say(&format!("trust zone {} has a new bundle with {count} X.509 {authorities}", zone.name))
}

/// As a bundle endpoint serves it, for partners who have no other way to it.
async fn export_bundle(args: ExportBundleArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.name)?;
    if args.package {
        return export_package(args, zone, connection, printer).await;
    }
    let unusable = |reason: &dyn std::fmt::Display| Error::failed(format!("Connect sent a bundle that cannot be used: {reason}"));
    let Some(bundle) = zone.bundle.clone() else {
        return Err(Error::failed(format!("trust zone {} has not delivered its bundle yet", zone.name))
            .hint("its agent does so when it joins; cofidectl agent list shows whether one has"));
    };
    let bundle = Bundle::try_from(bundle).map_err(|error| unusable(&error))?;
    let document = to_jwks(&bundle) + "\n";
    let Some(file) = args.output_file else { return printer.data(&document) };
    files::write_atomic(&file, document.as_bytes(), Mode::Public).map_err(|error| Error::failed(error.to_string()))?;
    printer.say(&format!("wrote {}: the bundle of {}, sequence number {}", file.display(), zone.trust_domain, bundle.sequence_number))
}

async fn export_package(args: ExportBundleArgs, zone: &TrustZone, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let ttl = prost_types::Duration::try_from(args.ttl).map_err(|error| Error::Usage(format!("--ttl: {error}")))?;
    let request = ExportBundlePackageRequest { trust_zone_id: zone.id().to_owned(), ttl: Some(ttl) };
    let exported = call(connection.bundle_packages().export_bundle_package(request)).await?;
    let signer = SignerKey::from_pem(&exported.signer_public_key)
        .map_err(|error| Error::failed(format!("Connect sent a signer's key that cannot be used: {error}")))?;
    let write = |file: &Path, text: &str| {
        files::write_atomic(file, text.as_bytes(), Mode::Public).map_err(|error| Error::failed(error.to_string()))
    };
    if let Some(file) = &args.signer_key_file {
        write(file, &exported.signer_public_key)?;
    }
    let package = exported.package + "\n";
    match &args.output_file {
        Some(file) => write(file, &package)?,
        None => printer.data(&package)?,
    }
    let expires_at = exported.expires_at.as_ref().map(|at| format_moment(from_timestamp(at))).unwrap_or_default();
    let written = args.output_file.map(|file| format!("wrote {}: ", file.display())).unwrap_or_default();
    printer.say(&format!(
        "{written}package {} of {}, to be imported before {expires_at}, signed by key {}",
        exported.sequence_number,
        zone.trust_domain,
        signer.fingerprint()
    ))
}

/// Connect refuses a zone that still has clusters; with `--force` they go first, one by one, and the zone last, so that
/// what is left after a failure can be deleted by the same command.
async fn del(args: DelArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.name)?;
    if zone.is_management_zone {
        return Err(Error::failed(format!("trust zone {} is the control plane's own and cannot be removed", zone.name)));
    }
    if args.force {
        for cluster in clusters(connection, Some(zone)).await?.iter() {
            call(connection.clusters().destroy_cluster(DestroyClusterRequest { cluster_id: cluster.id.clone() })).await?;
            printer.say(&format!("removed cluster {}", cluster.name()))?;
        }
    }
    let filter = list_federations_request::Filter { remote_trust_zone_id: zone.id.clone(), ..Default::default() };
    let trusting = ListFederationsRequest { filter: Some(filter) };
    let trusting = call(connection.federations().list_federations(trusting)).await?.federations;
    let request = DestroyTrustZoneRequest { trust_zone_id: zone.id.clone() };
    call(connection.trust_zones().destroy_trust_zone(request)).await?;
    let mut names: Vec<_> = trusting.iter().map(|federation| zones.name_of(federation.trust_zone_id())).collect();
    names.sort_unstable();
    let trusted = if names.is_empty() { String::new() } else { format!("; {} trusted it, and no longer does", names.join(" and ")) };
    printer.say(&format!("removed trust zone {}{trusted}", zone.name))
}
