//! `cofidectl federation import`: a partner outside of this Connect, and trust in it.

use std::path::Path;

use cofide_api::connect::bundle_package_service::ImportBundlePackageRequest;
use cofide_api::connect::federation_service::{CreateFederationRequest, ListFederationsRequest, list_federations_request};
use cofide_api::connect::trust_zone_service::{CreateTrustZoneRequest, UpdateTrustZoneRequest};
use cofide_api::types::federation::Federation;
use cofide_api::types::trust_zone::{BundleEndpointProfile, TrustZone};
use cofide_core::TrustDomain;

use super::bundle_file;
use crate::args::federation::ImportArgs;
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{Directory, clusters, trust_zones};
use crate::view::federation::NewFederationView;

/// What can be said without asking anybody.
pub(super) fn check(args: &ImportArgs) -> Result<()> {
    match (&args.bundle_file, &args.endpoint_url, &args.endpoint_spiffe_id) {
        _ if args.package_file.is_some() => Ok(()),
        (None, None, _) => Err(Error::Usage(
            "one of --bundle-file, --endpoint-url and --package-file is needed: how else would the partner be verified?".into(),
        )),
        (_, None, Some(_)) => Err(Error::Usage("--endpoint-spiffe-id says who serves --endpoint-url, and that is missing".into())),
        (None, Some(_), Some(id)) => Err(Error::Usage(format!(
            "an endpoint that proves itself as {id} can be verified only with a bundle that is there before: add --bundle-file"
        ))),
        _ => Ok(()),
    }
}

/// The partner becomes a trust zone without clusters, and the zone trusts it. Done again, it brings what has changed.
pub(super) async fn import(args: ImportArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.trust_zone)?;
    let partner = match (&args.package_file, &args.trust_domain) {
        (Some(file), _) => from_package(file, &args, connection).await?,
        (None, Some(trust_domain)) => partner(trust_domain, &args, &zones, connection).await?,
        (None, None) => return Err(Error::Usage("--trust-domain is needed".to_owned())),
    };
    let filter =
        list_federations_request::Filter { trust_zone_id: zone.id.clone(), remote_trust_zone_id: partner.id.clone(), ..Default::default() };
    let request = ListFederationsRequest { filter: Some(filter) };
    let federation = match call(connection.federations().list_federations(request)).await?.federations.into_iter().next() {
        Some(federation) => federation,
        None => {
            let federation =
                Federation { trust_zone_id: zone.id.clone(), remote_trust_zone_id: partner.id.clone(), ..Federation::default() };
            let request = CreateFederationRequest { federation: Some(federation) };
            call(connection.federations().create_federation(request)).await?.federation.unwrap_or_default()
        }
    };
    let view = NewFederationView { id: federation.id().to_owned(), trust_zone: zone.name.clone(), remote_trust_zone: partner.name.clone() };
    let source = match (&args.bundle_file.as_ref().or(args.package_file.as_ref()), &args.endpoint_url) {
        (_, Some(url)) => format!("its bundle is fetched from {url}"),
        (Some(file), None) => format!("its bundle stays that of {} until another is imported", file.display()),
        (None, None) => String::new(),
    };
    printer.done(&format!("trust zone {} trusts {} ({}): {source}", view.trust_zone, partner.trust_domain, partner.name), &view)
}

async fn from_package(file: &Path, args: &ImportArgs, connection: &Connection) -> Result<TrustZone> {
    let text = |file: &Path| {
        String::from_utf8(bundle_file::read_bytes(file)?).map_err(|_| Error::failed(format!("{} is no text", file.display())))
    };
    let request = ImportBundlePackageRequest {
        package: text(file)?,
        signer_public_key: args.signer_key_file.as_deref().map(text).transpose()?,
        name: args.name.as_ref().map(ToString::to_string),
    };
    Ok(call(connection.bundle_packages().import_bundle_package(request)).await?.trust_zone.unwrap_or_default())
}

async fn partner(
    trust_domain: &TrustDomain,
    args: &ImportArgs,
    zones: &Directory<TrustZone>,
    connection: &Connection,
) -> Result<TrustZone> {
    let bundle = args.bundle_file.as_ref().map(|file| bundle_file::read(file, trust_domain)).transpose()?;
    let profile = match (&args.endpoint_url, &args.endpoint_spiffe_id) {
        (None, _) => None,
        (Some(_), None) => Some(BundleEndpointProfile::HttpsWeb),
        (Some(_), Some(_)) => Some(BundleEndpointProfile::HttpsSpiffe),
    };
    let known = zones.iter().find(|zone| zone.trust_domain == trust_domain.as_str());
    let wanted = TrustZone {
        name: args.name.as_ref().map_or_else(|| trust_domain.to_string(), ToString::to_string),
        trust_domain: trust_domain.to_string(),
        bundle: bundle.as_ref().map(Into::into),
        bundle_endpoint_url: args.endpoint_url.clone(),
        bundle_endpoint_profile: profile.map(Into::into),
        bundle_endpoint_spiffe_id: args.endpoint_spiffe_id.as_ref().map(ToString::to_string),
        ..TrustZone::default()
    };
    let Some(known) = known else {
        let request = CreateTrustZoneRequest { trust_zone: Some(wanted) };
        return Ok(call(connection.trust_zones().create_trust_zone(request)).await?.trust_zone.unwrap_or_default());
    };
    if known.is_management_zone || clusters(connection, Some(known)).await?.iter().next().is_some() {
        let error = Error::failed(format!(
            "trust domain {} is that of trust zone {} here, whose agents deliver its bundle",
            known.trust_domain, known.name
        ));
        let hint = format!("cofidectl federation add --trust-zone {} --remote-trust-zone {}", args.trust_zone, known.name);
        return Err(error.hint(hint));
    }
    let request = UpdateTrustZoneRequest { trust_zone: Some(TrustZone { id: known.id.clone(), name: known.name.clone(), ..wanted }) };
    Ok(call(connection.trust_zones().update_trust_zone(request)).await?.trust_zone.unwrap_or_default())
}
