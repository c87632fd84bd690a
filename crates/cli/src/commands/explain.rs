//! `cofidectl explain`

use cofide_api::connect::explain_service::ExplainRequest;
use cofide_api::types::trust_zone::TrustZone;
use cofide_core::{Finding, Severity};

use crate::args::explain::ExplainArgs;
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{cluster_in, trust_zones};
use crate::view::explain::ExplanationView;

/// A chain that holds is no promise that a call is answered.
const UNSEEN: &str = "not seen from here: whether what listens at the gateway's address is the gateway, and whether the workload behind it \
                      listens; of the gateway the service's status at its cluster says more (the manifest's .status.yaml, or kubectl get \
                      federatedservice), of the workload the log of the gateway Envoy, with a line for each connection";

/// The chain goes to stdout however it stands, and what mends the first broken link to stderr; the exit code tells a script.
pub(super) async fn run(args: ExplainArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.from.trust_zone)?;
    let cluster_id = match &args.from.cluster {
        Some(cluster) => cluster_in(connection, zone, cluster).await?.id,
        None => None,
    };
    let findings = explanation(zone, cluster_id, args.to.as_str(), connection).await?;
    printer.show(&ExplanationView::new(&findings))?;
    match findings.into_iter().find(|finding| finding.severity != Severity::Ok) {
        None => {
            printer.say(&format!("every link that Connect knows of holds from {} to {}", zone.name, args.to))?;
            printer.say(UNSEEN)
        }
        Some(Finding { check, remedy, .. }) => {
            let remedy = remedy.map(|remedy| format!("; to mend it: {remedy}")).unwrap_or_default();
            printer.say(&format!("the first link that does not hold is \"{check}\"{remedy}"))?;
            Err(Error::AnswerIsNo)
        }
    }
}

/// The links between a trust zone, or one of its clusters, and a service.
pub(super) async fn explanation(
    zone: &TrustZone,
    cluster_id: Option<String>,
    hostname: &str,
    connection: &Connection,
) -> Result<Vec<Finding>> {
    let request = ExplainRequest { trust_zone_id: zone.id.clone().unwrap_or_default(), cluster_id, hostname: hostname.to_owned() };
    let findings = call(connection.explanations().explain(request)).await?.findings;
    let unusable = |error| Error::failed(format!("Connect sent an explanation that cannot be used: {error}"));
    findings.into_iter().map(Finding::try_from).collect::<Result<Vec<_>, _>>().map_err(unusable)
}
