//! `cofidectl trust-zone`

use std::io::Read;
use std::path::Path;

use cofide_api::connect::cluster_service::DestroyClusterRequest;
use cofide_api::connect::trust_zone_service::{
    CreateTrustZoneRequest, DestroyTrustZoneRequest, GetTrustZoneRequest, UpdateTrustZoneBundleRequest,
};
use cofide_api::types::trust_zone::{BundleEndpointProfile, TrustZone};
use cofide_core::parse_trust_domain;
use cofide_svid::bundle::{MAX_JWKS_SIZE, from_jwks};

use crate::args::trust_zone::{AddArgs, DelArgs, GetArgs, SetBundleArgs, TrustZoneCommand};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{clusters, trust_zones};
use crate::view::trust_zone::{TrustZoneView, TrustZonesView};

pub(super) async fn run(command: TrustZoneCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        TrustZoneCommand::Add(args) => add(args, connection, printer).await,
        TrustZoneCommand::List => list(connection, printer).await,
        TrustZoneCommand::Get(args) => get(args, connection, printer).await,
        TrustZoneCommand::SetBundle(args) => set_bundle(args, connection, printer).await,
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
    let unusable = |reason: &dyn std::fmt::Display| {
        Error::failed(format!("{} holds no bundle of {trust_domain}: {reason}", args.bundle_file.display()))
            .hint("a bundle is a JWKS as a SPIFFE bundle endpoint serves it, or spire-server bundle show -format spiffe prints it")
    };
    let bundle = from_jwks(&trust_domain, &read_bundle(&args.bundle_file)?).map_err(|error| unusable(&error))?;
    if bundle.x509_authorities.is_empty() {
        // Connect would keep the authorities that it has, and this command is there to replace them.
        return Err(unusable(&"it has no key with \"use\": \"x509-svid\""));
    }
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

/// One byte more than a bundle may have is enough to see that it is too long.
fn read_bundle(file: &Path) -> Result<Vec<u8>> {
    let mut document = Vec::new();
    let at_most = MAX_JWKS_SIZE as u64 + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(at_most).read_to_end(&mut document)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(at_most).read_to_end(&mut document))
    };
    read.map_err(|error| Error::failed(format!("cannot read {}: {error}", file.display())))?;
    Ok(document)
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
    let request = DestroyTrustZoneRequest { trust_zone_id: zone.id.clone() };
    call(connection.trust_zones().destroy_trust_zone(request)).await?;
    printer.say(&format!("removed trust zone {}", zone.name))
}
