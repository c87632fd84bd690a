//! What the owner of a FederatedService is told. Pure.
//!
//! Reasons are words for programs ([`reasons`]), and messages are sentences for people, each with what to do next.

use std::collections::BTreeSet;

use cofide_core::{ConditionKind, Direction, ExportRefusal, ExportTarget, Gateway, TrustDomain};
use cofide_k8s_api::ConditionStatus as Status;

use super::{Decision, Export, Offer, ServiceRegistration, reasons};

/// A condition without its time, which is the writer's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: ConditionKind,
    pub status: Status,
    /// One of [`reasons`].
    pub reason: &'static str,
    pub message: String,
}

fn condition(kind: ConditionKind, status: Status, reason: &'static str, message: impl Into<String>) -> Condition {
    Condition { kind, status, reason, message: message.into() }
}

/// What is known about a service beyond the local objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Absent while the service has not been looked at.
    pub registration: Option<&'a ServiceRegistration>,
    /// What became of each exported trust domain; absent until Connect has said so.
    pub targets: Option<&'a [ExportTarget]>,
    /// Whether an Envoy takes its configuration as this host's gateway.
    pub gateway_connected: bool,
    /// Whether that configuration waits, because services may be missing from what is known.
    pub gateway_waits: bool,
    /// Whether the gateways are a mesh's, which takes its configuration from the API server and not from this agent.
    pub gateway_of_mesh: bool,
    /// What was looked for in vain where gateways are discovered.
    pub gateway_findings: &'a [String],
    /// What stands in the way of the mesh's objects for this service.
    pub mesh_problems: &'a [String],
    /// Settings of the mesh that keep its sidecars from admitting remote clients.
    pub mesh_findings: &'a [String],
    /// What the mesh's objects for this service, which are in place, do not give in full.
    pub mesh_notes: &'a [String],
}

/// The conditions of one export, in the order of [`ConditionKind::ALL`].
pub fn conditions(export: &Export, around: Surroundings<'_>) -> Vec<Condition> {
    let accepted = accepted(export);
    let Some(offer) = export.offer() else {
        let not_offered =
            |kind| condition(kind, Status::Unknown, reasons::NOT_ACCEPTED, "nothing is done for a service that is not accepted");
        let ready = condition(ConditionKind::Ready, Status::False, accepted.reason, accepted.message.clone());
        return vec![
            accepted,
            not_offered(ConditionKind::GatewayReady),
            not_offered(ConditionKind::BackendsReady),
            not_offered(ConditionKind::Registered),
            ready,
        ];
    };
    let parts = [accepted, gateway_ready(offer, around), backends_ready(offer, around.mesh_notes), registered(around.registration)];
    let ready = ready(&parts, offer, around);
    parts.into_iter().chain([ready]).collect()
}

/// With a full stop behind it, unless it ends in a question.
fn closed(text: &str) -> String {
    if text.ends_with(['?', '.']) { text.to_owned() } else { format!("{text}.") }
}

/// One after the other; the last one stays open, as a message does that has only one.
fn sentences(texts: &[String]) -> String {
    match texts.split_last() {
        Some((last, before)) => before.iter().map(|text| closed(text) + " ").chain([last.clone()]).collect(),
        None => String::new(),
    }
}

fn accepted(export: &Export) -> Condition {
    let problems = sentences(&export.problems);
    let (status, reason, message) = match &export.decision {
        Decision::Offered(_) if problems.is_empty() => (Status::True, reasons::VALID, "the manifest is valid".to_owned()),
        Decision::Offered(_) => {
            let message = format!(
                "{} Until that is corrected, the last valid version stays in force; to withdraw the service, delete the manifest",
                closed(&problems)
            );
            (Status::False, reasons::INVALID_KEPT_LAST_VALID, message)
        }
        Decision::Invalid => (Status::False, reasons::INVALID, problems),
        Decision::Conflict { hostname, with } => {
            let message = format!("{hostname} belongs to {with}, which is older. Change spec.name or spec.namespace, or delete the other");
            (Status::False, reasons::CONFLICT, message)
        }
    };
    condition(ConditionKind::Accepted, status, reason, message)
}

fn list(gateways: &[Gateway]) -> String {
    gateways.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn gateway_ready(offer: &Offer, around: Surroundings<'_>) -> Condition {
    let kind = ConditionKind::GatewayReady;
    let service = &offer.service;
    if !around.mesh_problems.is_empty() {
        return condition(kind, Status::False, reasons::MESH_NOT_CONFIGURED, around.mesh_problems.join("; "));
    }
    if !around.mesh_findings.is_empty() {
        return condition(kind, Status::False, reasons::MESH_MISCONFIGURED, around.mesh_findings.join(". "));
    }
    if !service.gateway_specs.is_empty() {
        let message = format!("as spec.gateways says: {}", list(&service.gateway_specs));
        return condition(kind, Status::True, reasons::MANUAL_GATEWAYS, message);
    }
    if service.gateway_entries.is_empty() {
        let message = if around.gateway_findings.is_empty() {
            "no address is known at which remote clients could enter. Set the agent's gateway_addresses, or spec.gateways".to_owned()
        } else {
            let found = around.gateway_findings.join("; ");
            format!("no gateway was found through which remote clients could enter: {found}. Correct that, or set spec.gateways")
        };
        return condition(kind, Status::False, reasons::NO_GATEWAY, message);
    }
    if around.gateway_of_mesh {
        let mut message = list(&service.gateway_entries);
        if !around.gateway_findings.is_empty() {
            message = format!("{message}; beside that, {}", around.gateway_findings.join("; "));
        }
        return condition(kind, Status::True, reasons::GATEWAYS_DISCOVERED, message);
    }
    if !around.gateway_connected {
        let message = format!(
            "no gateway Envoy takes its configuration from this agent, so nothing listens at {}. Start one with what `cofide-agent \
             envoy-bootstrap --role gateway` prints",
            list(&service.gateway_entries)
        );
        return condition(kind, Status::False, reasons::GATEWAY_NOT_CONNECTED, message);
    }
    if around.gateway_waits {
        let message = "the agent's memory of its manifests was lost and not all of them are valid, so the gateway keeps what it has. Correct \
                       every manifest of which a status file says that it is not valid";
        return condition(kind, Status::False, reasons::GATEWAY_WAITS, message);
    }
    condition(kind, Status::True, reasons::GATEWAY_CONNECTED, list(&service.gateway_entries))
}

/// What a mesh does without is about the pods behind the service. It keeps nobody out who gets to the others, so it changes no
/// status.
fn backends_ready(offer: &Offer, mesh_notes: &[String]) -> Condition {
    let mut condition = backends_found(offer);
    for note in mesh_notes {
        condition.message = format!("{}; beside that, {note}", condition.message);
    }
    condition
}

fn backends_found(offer: &Offer) -> Condition {
    let kind = ConditionKind::BackendsReady;
    let service = &offer.service;
    if let Some(backing) = &offer.backing {
        if let Some(problem) = &backing.problem {
            return condition(kind, Status::False, problem.reason, problem.message.clone());
        }
        let endpoints = match backing.backends.len() {
            1 => "1 endpoint".to_owned(),
            count => format!("{count} endpoints"),
        };
        let name = backing.service.as_deref().unwrap_or_default();
        let message = format!("{endpoints} of Service {}/{name}", service.name.namespace);
        return condition(kind, Status::True, reasons::ENDPOINTS_READY, message);
    }
    if !offer.backends.is_empty() {
        let mut message = match offer.backends.len() {
            1 => "1 workload".to_owned(),
            count => format!("{count} workloads"),
        };
        for problem in &offer.unusable {
            message = format!("{message}; not used: {problem}");
        }
        return condition(kind, Status::True, reasons::WORKLOADS_FOUND, message);
    }
    if !offer.unusable.is_empty() {
        return condition(kind, Status::False, reasons::NO_USABLE_PORT, offer.unusable.join("; "));
    }
    let labels: Vec<_> = service.workload_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let message = format!(
        "no WorkloadEntry in namespace {} carries the labels {}. Add one that says where the workload listens, or correct \
         spec.workloadLabels",
        service.name.namespace,
        labels.join(",")
    );
    condition(kind, Status::False, reasons::NO_WORKLOAD, message)
}

fn registered(registration: Option<&ServiceRegistration>) -> Condition {
    let kind = ConditionKind::Registered;
    match registration {
        Some(ServiceRegistration::Registered) => {
            condition(kind, Status::True, reasons::REGISTERED, "Connect knows the service in its present form")
        }
        Some(ServiceRegistration::NotAnnounced) => {
            condition(kind, Status::Unknown, reasons::NOT_ANNOUNCED, "Connect is told when a gateway and a backend are ready")
        }
        Some(ServiceRegistration::Outdated(reason)) => {
            let message = format!("Connect knows an earlier form of the service; the present one follows when Connect answers: {reason}");
            condition(kind, Status::False, reasons::OUTDATED, message)
        }
        Some(ServiceRegistration::Refused(reason)) => {
            condition(kind, Status::False, reasons::REFUSED, format!("Connect refused the service: {reason}"))
        }
        Some(ServiceRegistration::AgentRefused(reason)) => condition(kind, Status::False, reasons::AGENT_REFUSED, reason),
        Some(ServiceRegistration::Unreachable(reason)) => {
            condition(kind, Status::Unknown, reasons::CONNECT_UNREACHABLE, format!("it is tried again until Connect answers: {reason}"))
        }
        None => condition(kind, Status::Unknown, reasons::PENDING, "not yet told to Connect"),
    }
}

/// All that stands in the way at once, so that the owner need not mend one thing to learn of the next. The reason is the
/// first's; False where something is known to be wrong, Unknown where something is only not known yet.
fn ready(parts: &[Condition], offer: &Offer, around: Surroundings<'_>) -> Condition {
    let kind = ConditionKind::Ready;
    let parts = parts.iter().filter(|part| part.status != Status::True);
    let mut obstacles: Vec<_> = parts.map(|part| (part.status, part.reason, format!("{}: {}", part.kind.as_str(), part.message))).collect();
    obstacles.extend(consumers(offer, around));
    // What is wrong before what is not known.
    obstacles.sort_by_key(|(status, ..)| *status != Status::False);
    match obstacles.first() {
        Some(&(status, reason, _)) => {
            let messages: Vec<_> = obstacles.into_iter().map(|(.., message)| message).collect();
            condition(kind, status, reason, sentences(&messages))
        }
        None => {
            let names: Vec<_> = offer.service.exported_trust_domains.iter().map(ToString::to_string).collect();
            condition(kind, Status::True, reasons::EXPORTED, format!("{} is exported to {}", offer.service.hostname, names.join(", ")))
        }
    }
}

/// What keeps the exported trust domains from importing the service.
fn consumers(offer: &Offer, around: Surroundings<'_>) -> Vec<(Status, &'static str, String)> {
    let awaiting = |message: &str| vec![(Status::Unknown, reasons::AWAITING_CONNECT, message.to_owned())];
    let Some(targets) = around.targets else {
        return awaiting("Connect has not said yet which trust domains may import the service");
    };
    // What was asked for decides, not what Connect listed: its answer may be about the version before.
    let answered: BTreeSet<_> = targets.iter().map(|target| &target.trust_domain).collect();
    if !offer.service.exported_trust_domains.iter().eq(answered) {
        return awaiting("Connect has not answered to the present list of exported trust domains");
    }
    let refusals = targets.iter().filter_map(|target| Some((&target.trust_domain, target.refusal.as_ref()?)));
    refusals
        .map(|(trust_domain, refusal)| {
            let reason = match refusal {
                ExportRefusal::UnknownTrustDomain => reasons::UNKNOWN_TRUST_DOMAIN,
                ExportRefusal::FederationMissing(_) => reasons::FEDERATION_MISSING,
            };
            (Status::False, reason, sentence(trust_domain, refusal))
        })
        .collect()
}

fn sentence(trust_domain: &TrustDomain, refusal: &ExportRefusal) -> String {
    match refusal {
        ExportRefusal::UnknownTrustDomain => {
            format!("no trust zone has the trust domain {trust_domain}. Correct spec.exportedTrustDomains, or add the zone")
        }
        ExportRefusal::FederationMissing(directions) => {
            let missing: Vec<_> = directions.iter().map(ToString::to_string).collect();
            let remedies: Vec<_> = directions.iter().map(Direction::remedy).collect();
            format!("{trust_domain} cannot import it, the federation {} is missing. Run: {}", missing.join(" and "), remedies.join("; "))
        }
    }
}
