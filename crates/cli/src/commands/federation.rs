//! `cofidectl federation`

use std::time::SystemTime;

use cofide_api::connect::federation_service::{
    CreateFederationRequest, DestroyFederationRequest, ListFederationsRequest, list_federations_request,
};
use cofide_api::connect::receipt_service::{GetFederationStatusRequest, ListFederationStatusesRequest, list_federation_statuses_request};
use cofide_api::types::federation::Federation;
use cofide_api::types::trust_zone::TrustZone;

use super::partner;
use crate::args::federation::{Direction, FederationCommand, ListArgs, StatusArgs};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{Directory, clusters, trust_zones};
use crate::view::federation::{FederationView, FederationsView, NewFederationView};
use crate::view::federation_status::FederationStatusView;

pub(super) async fn run(command: FederationCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        FederationCommand::Add(args) => add(args, connection, printer).await,
        FederationCommand::List(args) => list(args, connection, printer).await,
        FederationCommand::Import(args) => partner::import(args, connection, printer).await,
        FederationCommand::Status(args) => status(args, connection, printer).await,
        FederationCommand::Del(args) => del(args, connection, printer).await,
    }
}

fn pair<'a>(args: &Direction, zones: &'a Directory<TrustZone>) -> Result<(&'a TrustZone, &'a TrustZone)> {
    let find = |what: &str, name: &str| zones.find(name).map_err(|error| error.instead(format!("failed to get {what} {name}: not found")));
    Ok((find("trust zone", &args.trust_zone)?, find("remote trust zone", &args.remote_trust_zone)?))
}

async fn add(args: Direction, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let (zone, remote) = pair(&args, &zones)?;
    let federation = Federation { trust_zone_id: zone.id.clone(), remote_trust_zone_id: remote.id.clone(), ..Federation::default() };
    let request = CreateFederationRequest { federation: Some(federation) };
    let created = call(connection.federations().create_federation(request)).await?.federation.unwrap_or_default();
    let view = NewFederationView { id: created.id().to_owned(), trust_zone: zone.name.clone(), remote_trust_zone: remote.name.clone() };
    printer.done(&format!("created federation {} -> {}", view.trust_zone, view.remote_trust_zone), &view)
}

async fn list(args: ListArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let trust_zone_id = match &args.trust_zone {
        Some(name) => zones.find(name)?.id.clone(),
        None => None,
    };
    let filter = list_federations_request::Filter { trust_zone_id: trust_zone_id.clone(), ..Default::default() };
    let request = ListFederationsRequest { filter: Some(filter) };
    let federations = call(connection.federations().list_federations(request)).await?.federations;
    let filter = list_federation_statuses_request::Filter { trust_zone_id, remote_trust_zone_id: None };
    let request = ListFederationStatusesRequest { filter: Some(filter) };
    let statuses = call(connection.receipts().list_federation_statuses(request)).await?.statuses;

    let mut views: Vec<_> = federations.iter().map(|federation| FederationView::new(federation, &statuses, &zones)).collect();
    views.sort_by(|a, b| (&a.trust_zone, &a.remote_trust_zone).cmp(&(&b.trust_zone, &b.remote_trust_zone)));
    printer.show(&FederationsView(views))
}

async fn status(args: StatusArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let (zone, remote) = (zones.find(&args.trust_zone)?, zones.find(&args.remote_trust_zone)?);
    let request = GetFederationStatusRequest {
        trust_zone_id: zone.id.clone().unwrap_or_default(),
        remote_trust_zone_id: remote.id.clone().unwrap_or_default(),
    };
    let answer = call(connection.receipts().get_federation_status(request)).await?;
    let clusters = clusters(connection, None).await?;
    printer.show(&FederationStatusView::new(&answer, &zones, &clusters, SystemTime::now().into()))
}

async fn del(args: Direction, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let (zone, remote) = pair(&args, &zones)?;
    let filter =
        list_federations_request::Filter { trust_zone_id: zone.id.clone(), remote_trust_zone_id: remote.id.clone(), ..Default::default() };
    let request = ListFederationsRequest { filter: Some(filter) };
    let federations = call(connection.federations().list_federations(request)).await?.federations;
    let Some(federation) = federations.into_iter().next() else {
        let error = Error::failed(format!("no federation found from {} to {}", zone.name, remote.name));
        return Err(error.hint("a federation has a direction; cofidectl federation list shows which there are"));
    };
    call(connection.federations().destroy_federation(DestroyFederationRequest { federation_id: federation.id })).await?;
    printer.say(&format!("removed federation {} -> {}", zone.name, remote.name))
}
