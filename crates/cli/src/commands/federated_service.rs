//! `cofidectl federated-service`

use cofide_api::connect::agent_service::ListFederatedServicesRequest;
use cofide_api::types::trust_zone::TrustZone;
use cofide_core::{Finding, Severity};

use super::explain::explanation;
use crate::args::federated_service::{FederatedServiceCommand, GetArgs, ListArgs};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{Directory, meant, trust_zones};
use crate::view::federated_service::{
    ConditionView, FederatedServiceDetail, FederatedServiceDetailsView, FederatedServiceView, FederatedServicesView,
};

pub(super) async fn run(command: FederatedServiceCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        FederatedServiceCommand::List(args) => list(args, connection, printer).await,
        FederatedServiceCommand::Get(args) => get(args, connection, printer).await,
        // Done without Connect.
        FederatedServiceCommand::Create(_) | FederatedServiceCommand::Export(_) => Ok(()),
    }
}

/// By hostname, then by cluster.
async fn services(connection: &Connection) -> Result<Vec<FederatedServiceView>> {
    let answer = call(connection.agents().list_federated_services(ListFederatedServicesRequest::default())).await?;
    let mut services: Vec<_> = answer.services.iter().map(FederatedServiceView::new).collect();
    services.sort_by(|a, b| (&a.hostname, &a.cluster).cmp(&(&b.hostname, &b.cluster)));
    Ok(services)
}

async fn list(args: ListArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let mut services = services(connection).await?;
    if let Some(domain) = &args.trust_domain {
        services.retain(|service| service.trust_domain == domain.as_str());
    }
    if let Some(domain) = &args.exported_to {
        services.retain(|service| service.exported_trust_domains.iter().any(|exported| exported == domain.as_str()));
    }
    printer.show(&FederatedServicesView(services))
}

async fn get(args: GetArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let mut services = services(connection).await?;
    let is_wanted = |service: &FederatedServiceView| service.hostname.as_deref() == Some(&args.hostname) || service.id == args.hostname;
    if !services.iter().any(is_wanted) {
        let error = Error::failed(format!("federated service {:?} not found", args.hostname));
        return Err(match meant(&args.hostname, services.iter().filter_map(|service| service.hostname.as_deref())) {
            Some(hostname) => error.hint(format!("did you mean {hostname}?")),
            None => error.hint("cofidectl federated-service list shows which there are"),
        });
    }
    services.retain(is_wanted);
    let zones = trust_zones(connection).await?;
    let mut details = Vec::new();
    for service in services {
        let mut ready = Vec::new();
        for domain in &service.exported_trust_domains {
            ready.extend(readiness(&service, domain, &zones, connection).await?);
        }
        details.push(FederatedServiceDetail::new(service, ready));
    }
    printer.show(&FederatedServiceDetailsView(details))
}

/// Whether workloads of a trust domain can use the service; nothing where no question can be asked about it.
async fn readiness(
    service: &FederatedServiceView,
    domain: &str,
    zones: &Directory<TrustZone>,
    connection: &Connection,
) -> Result<Option<ConditionView>> {
    let Some(hostname) = &service.hostname else { return Ok(None) };
    let findings = match zones.iter().find(|zone| zone.trust_domain == domain) {
        Some(zone) => explanation(zone, None, hostname, connection).await?,
        None => vec![Finding {
            check: "client trust zone".to_owned(),
            severity: Severity::Broken,
            message: format!("there is no trust zone with the trust domain {domain}"),
            remedy: None,
        }],
    };
    Ok(Some(ConditionView::ready(domain, &findings)))
}
