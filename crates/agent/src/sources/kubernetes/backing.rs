//! Which Kubernetes Service stands behind a FederatedService, and which of its endpoints are ready. Pure.
//!
//! - A Service matches where it has a selector and each label of it is among `spec.workloadLabels`: then every pod that the
//!   owner means is behind it. A Service that selects more narrowly matches too few of them, and is not taken.
//! - Of a Service that matches, the port counts whose number is `spec.port`; else the one whose target is `spec.port`, for that
//!   is where the server listens; else the one whose named target is that port in the endpoints.
//! - Several that match are one where they lead to the same port of the pods, as a headless Service beside another one does.
//!   Where they do not, nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{GatewayAddress, Port};
use cofide_k8s_api::ServiceSpec;

use super::records::{PortRecord, ServiceRecord, SliceRecord, Target};
use crate::desired::Backend;
use crate::export::reasons;
use crate::view::{Backing, BackingProblem};

/// How many Services a message names.
const NAMED: usize = 5;

/// The Services and EndpointSlices of a cluster, by what they are looked for.
#[derive(Debug, Default)]
pub struct Services<'a> {
    /// By namespace and one label of the selector, so that a service looks at few and not at all of its namespace.
    by_label: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a ServiceRecord>>,
    by_namespace: BTreeMap<&'a str, Vec<&'a ServiceRecord>>,
    /// By namespace and Service.
    slices: BTreeMap<(&'a str, &'a str), Vec<&'a SliceRecord>>,
}

impl<'a> Services<'a> {
    pub fn new(services: impl IntoIterator<Item = &'a ServiceRecord>, slices: impl IntoIterator<Item = &'a SliceRecord>) -> Self {
        let mut index = Self::default();
        for service in services {
            index.by_namespace.entry(&service.namespace).or_default().push(service);
            if let Some((key, value)) = service.selector.first_key_value() {
                index.by_label.entry((&service.namespace, key, value)).or_default().push(service);
            }
        }
        for slice in slices.into_iter().filter(|slice| !slice.service.is_empty()) {
            index.slices.entry((&slice.namespace, &slice.service)).or_default().push(slice);
        }
        // Independent of the order in which objects arrived.
        for services in index.by_label.values_mut().chain(index.by_namespace.values_mut()) {
            services.sort_by(|a, b| a.name.cmp(&b.name));
        }
        index
    }

    fn in_namespace(&self, namespace: &str) -> &[&'a ServiceRecord] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    fn slices(&self, service: &'a ServiceRecord) -> &[&'a SliceRecord] {
        self.slices.get(&(service.namespace.as_str(), service.name.as_str())).map_or(&[], Vec::as_slice)
    }

    /// The Services whose selector is among the labels; sorted by name.
    fn matching(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<&'a ServiceRecord> {
        let candidates = labels.iter().filter_map(|(key, value)| self.by_label.get(&(namespace, key.as_str(), value.as_str())));
        let selects = |service: &&&ServiceRecord| service.selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        let mut matching: Vec<_> = candidates.flatten().filter(selects).copied().collect();
        matching.sort_by(|a, b| a.name.cmp(&b.name));
        matching
    }
}

/// A Service that matches, and its port for the FederatedService.
struct Match<'a> {
    service: &'a ServiceRecord,
    port: &'a PortRecord,
    targets: BTreeSet<Port>,
}

/// What stands behind a service as its specification asks for it.
pub fn backing(spec: &ServiceSpec, services: &Services<'_>) -> Backing {
    let found = find(spec, services);
    let Match { service, port, targets } = match found {
        Ok(found) => found,
        Err(problem) => return Backing { problem: Some(problem), ..Backing::default() },
    };
    let slices = services.slices(service);
    let mut backends = BTreeSet::new();
    for slice in slices {
        let Some(number) = slice.ports.get(&port.name) else { continue };
        // A pod of two families has one address in a slice of each: the second would count it twice.
        let addresses = slice.ready.iter().filter(|address| address.is_ipv6() == service.is_ipv6_first);
        backends.extend(addresses.map(|address| Backend { address: GatewayAddress::Ip(*address), port: *number }));
    }
    let problem = backends.is_empty().then(|| {
        let waiting: usize = slices.iter().map(|slice| slice.waiting).sum();
        let named = format!("Service {}/{}", service.namespace, service.name);
        match waiting {
            0 => BackingProblem {
                reason: reasons::NO_ENDPOINT,
                message: format!("{named} has no endpoint. Start a pod with the labels {}", selector(&service.selector)),
            },
            waiting => BackingProblem {
                reason: reasons::NO_READY_ENDPOINT,
                message: format!("none of the {waiting} endpoints of {named} is ready. See what the pods' readiness probes say"),
            },
        }
    });
    Backing { service: Some(service.name.clone()), target_ports: targets, backends, problem }
}

fn find<'a>(spec: &ServiceSpec, services: &Services<'a>) -> Result<Match<'a>, BackingProblem> {
    let namespace = spec.name.namespace.as_str();
    let matching = services.matching(namespace, &spec.workload_labels);
    if matching.is_empty() {
        return Err(no_service(spec, services.in_namespace(namespace)));
    }
    let (external, matching): (Vec<_>, Vec<_>) = matching.into_iter().partition(|service| service.service_type == "ExternalName");
    if let (Some(service), []) = (external.first(), matching.as_slice()) {
        let message = format!(
            "Service {namespace}/{} is of type ExternalName and leads out of the cluster to {}. Make it one of type ClusterIP that selects \
             the pods",
            service.name,
            service.external_name.as_deref().unwrap_or("nowhere")
        );
        return Err(BackingProblem { reason: reasons::EXTERNAL_NAME, message });
    }
    let with_port: Vec<_> = matching.iter().filter_map(|service| matched(spec, service, services.slices(service))).collect();
    let (tcp, other): (Vec<_>, Vec<_>) = with_port.into_iter().partition(|found| found.port.is_tcp);
    let mut tcp = tcp.into_iter();
    let Some(first) = tcp.next() else {
        return Err(no_port(spec, &matching, other.first()));
    };
    let others: Vec<_> = tcp.collect();
    let leads_elsewhere = |other: &Match<'_>| other.service.selector != first.service.selector || other.port.target != first.port.target;
    if others.iter().any(leads_elsewhere) {
        let names: Vec<_> = [&first].into_iter().chain(&others).map(|found| described(found.service)).collect();
        let message = format!(
            "{} Services match and do not lead to the same port: {}. Let spec.workloadLabels name labels that one of them alone selects, or \
             delete the others",
            names.len(),
            names.join("; ")
        );
        return Err(BackingProblem { reason: reasons::AMBIGUOUS_SERVICE, message });
    }
    Ok(first)
}

/// The port of a Service for the specification, and the ports of the pods behind it.
fn matched<'a>(spec: &ServiceSpec, service: &'a ServiceRecord, slices: &[&SliceRecord]) -> Option<Match<'a>> {
    let resolved = |port: &PortRecord| -> BTreeSet<Port> {
        match &port.target {
            Target::Number(number) => [*number].into(),
            Target::Name(_) => slices.iter().filter_map(|slice| slice.ports.get(&port.name)).copied().collect(),
        }
    };
    // The same number can be there for TCP and for UDP.
    let of = |matches: &dyn Fn(&PortRecord) -> bool| {
        let mut ports: Vec<_> = service.ports.iter().filter(|port| matches(port)).collect();
        ports.sort_by_key(|port| !port.is_tcp);
        ports.first().copied()
    };
    let port = of(&|port| port.port == spec.port)
        .or_else(|| of(&|port| port.target == Target::Number(spec.port)))
        .or_else(|| of(&|port| resolved(port).contains(&spec.port)))?;
    Some(Match { service, port, targets: resolved(port) })
}

fn selector(labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if labels.is_empty() { "none".to_owned() } else { labels.join(",") }
}

fn described(service: &ServiceRecord) -> String {
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| {
            let target = match &port.target {
                Target::Number(number) => number.to_string(),
                Target::Name(name) => name.clone(),
            };
            format!("{} to {target}", port.port)
        })
        .collect();
    format!("{} (selects {}; ports {})", service.name, selector(&service.selector), ports.join(", "))
}

fn no_service(spec: &ServiceSpec, present: &[&ServiceRecord]) -> BackingProblem {
    let namespace = &spec.name.namespace;
    let seen = if present.is_empty() {
        format!("there is no Service in namespace {namespace} at all; check that the namespace exists and that spec.namespace names it")
    } else {
        let mut seen: Vec<_> =
            present.iter().take(NAMED).map(|service| format!("{} selects {}", service.name, selector(&service.selector))).collect();
        if present.len() > NAMED {
            seen.push(format!("and {} more", present.len() - NAMED));
        }
        format!("of those in the namespace, {}", seen.join("; "))
    };
    let message = format!(
        "no Service in namespace {namespace} selects pods by the labels {}, or by some of them: {seen}. Create one, or correct \
         spec.workloadLabels",
        selector(&spec.workload_labels)
    );
    BackingProblem { reason: reasons::NO_SERVICE, message }
}

fn no_port(spec: &ServiceSpec, matching: &[&ServiceRecord], other: Option<&Match<'_>>) -> BackingProblem {
    if let Some(Match { service, port, .. }) = other {
        let message = format!(
            "port {} of Service {}/{} is for {}; federated services are reached over TCP. Name a TCP port in spec.port",
            port.port, service.namespace, service.name, port.protocol
        );
        return BackingProblem { reason: reasons::PORT_NOT_TCP, message };
    }
    let seen: Vec<_> = matching.iter().take(NAMED).map(|service| described(service)).collect();
    let message = format!(
        "no matching Service has a port {} or one that leads to it: {}. Add the port, or correct spec.port",
        spec.port,
        seen.join("; ")
    );
    BackingProblem { reason: reasons::NO_SERVICE_PORT, message }
}
