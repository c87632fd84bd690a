//! From what the owner wrote to what the nouns can hold, with everything that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use cofide_core::{
    Gateway, GatewayAddress, GatewayError, Hostname, MAX_EXPORTED_TRUST_DOMAINS, MAX_GATEWAYS, MAX_SPIFFE_ID_PATHS, MAX_WORKLOAD_LABELS,
    Port, ServiceName, SpiffeIdPath, TlsMode, TrustDomain, parse_trust_domain,
};

use super::{FederatedService, FederatedServiceSpec, GatewaySpec};
use crate::fields::Read;
use crate::problem::{Problem, merge};

/// What a valid FederatedService asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    pub name: ServiceName,
    pub hostname: Hostname,
    /// Never empty, never the own trust domain.
    pub exported_trust_domains: BTreeSet<TrustDomain>,
    /// Never empty.
    pub workload_labels: BTreeMap<String, String>,
    pub port: Port,
    pub tls_mode: TlsMode,
    /// Sorted, without duplicates.
    pub spiffe_id_paths: Vec<SpiffeIdPath>,
    /// Sorted, without duplicates; empty where gateways are to be discovered.
    pub gateways: Vec<Gateway>,
}

impl Read<FederatedService> {
    /// What the object asks for in a cluster of the trust domain `own`, or everything that is wrong with it.
    pub fn check(&self, own: &TrustDomain) -> Result<ServiceSpec, Vec<Problem>> {
        match (self.object.check(own), self.problems.as_slice()) {
            (Ok(spec), []) => Ok(spec),
            (Ok(_), form) => Err(form.to_vec()),
            (Err(meaning), form) => Err(merge(form, meaning)),
        }
    }
}

impl FederatedService {
    /// As [`Read::check`], for an object whose form is known to be right.
    pub fn check(&self, own: &TrustDomain) -> Result<ServiceSpec, Vec<Problem>> {
        let mut problems = Vec::new();
        self.metadata.check(&mut problems);
        let spec = self.spec.check(own, &mut problems);
        match spec {
            Some(spec) if problems.is_empty() => Ok(spec),
            _ => Err(problems),
        }
    }
}

/// Notes a problem and goes on without the value.
fn accept<T, E: Display>(path: &str, result: Result<T, E>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|error| problems.push(Problem::new(path, error))).ok()
}

/// Bounds that are Kubernetes', but hold for files too: the same object means the same everywhere.
fn check_count(path: &str, verb: &str, count: usize, max: usize, what: &str, problems: &mut Vec<Problem>) {
    if count > max {
        problems.push(Problem::new(path, format!("{verb} {count}{what}, at most {max} are allowed")));
    }
}

impl FederatedServiceSpec {
    /// Everything is looked at before anything is given up; the `?` at the end only assemble what was good.
    fn check(&self, own: &TrustDomain, problems: &mut Vec<Problem>) -> Option<ServiceSpec> {
        let label = |field: &str, text: &str, problems: &mut Vec<Problem>| match text {
            "" => {
                problems.push(Problem::new(field, "must be set").remedy("it is a part of the hostname that clients use"));
                None
            }
            text => accept(field, text.parse(), problems),
        };
        let name = label("spec.name", &self.name, problems);
        let namespace = label("spec.namespace", &self.namespace, problems);
        let name = name.zip(namespace).map(|(name, namespace)| ServiceName { name, namespace });
        let hostname = name.as_ref().and_then(|name| {
            let problem = |error| {
                Problem::new("spec.name", format!("the hostname {}.{}.{own} {error}", name.name, name.namespace))
                    .remedy("choose a shorter name, or a trust domain that is a DNS name")
            };
            name.hostname(own).map_err(|error| problems.push(problem(error))).ok()
        });
        let exported_trust_domains = self.exported_trust_domains(own, problems);
        self.check_labels(problems);
        let port = accept("spec.port", Port::try_from(i64::from(self.port)), problems);
        let tls_mode = self.check_tls_mode(problems);
        check_count("spec.spiffeIDPaths", "has", self.spiffe_id_paths.len(), MAX_SPIFFE_ID_PATHS, " entries", problems);
        check_count("spec.gateways", "has", self.gateways.len(), MAX_GATEWAYS, " entries", problems);
        let spiffe_id_paths: BTreeSet<SpiffeIdPath> = (self.spiffe_id_paths.iter().enumerate())
            .filter_map(|(index, path)| accept(&format!("spec.spiffeIDPaths[{index}]"), path.parse(), problems))
            .collect();
        let gateways: BTreeSet<Gateway> = (self.gateways.iter().enumerate())
            .filter_map(|(index, gateway)| gateway.check(&format!("spec.gateways[{index}]"), problems))
            .collect();
        Some(ServiceSpec {
            name: name?,
            hostname: hostname?,
            exported_trust_domains,
            workload_labels: self.workload_labels.clone(),
            port: port?,
            tls_mode: tls_mode?,
            spiffe_id_paths: spiffe_id_paths.into_iter().collect(),
            gateways: gateways.into_iter().collect(),
        })
    }

    fn exported_trust_domains(&self, own: &TrustDomain, problems: &mut Vec<Problem>) -> BTreeSet<TrustDomain> {
        if self.exported_trust_domains.is_empty() {
            let problem = Problem::new("spec.exportedTrustDomains", "must name at least one trust domain");
            problems.push(problem.remedy("list the trust domains whose workloads may use the service, or delete the object"));
        }
        let count = self.exported_trust_domains.len();
        check_count("spec.exportedTrustDomains", "names", count, MAX_EXPORTED_TRUST_DOMAINS, " trust domains", problems);
        let mut exported = BTreeSet::new();
        for (index, text) in self.exported_trust_domains.iter().enumerate() {
            let path = format!("spec.exportedTrustDomains[{index}]");
            let domain = match parse_trust_domain(text) {
                Ok(domain) => domain,
                Err(error) => {
                    let problem = Problem::new(path, format!("{text:?} {error}"));
                    problems.push(problem.remedy("write a trust domain's name, as in other.example"));
                    continue;
                }
            };
            if domain == *own {
                let problem = Problem::new(path, format!("{own} is the service's own trust domain"));
                problems.push(problem.remedy("remove it: workloads of the same trust domain need no export"));
            } else if !exported.insert(domain) {
                problems.push(Problem::new(path, format!("{text} is listed twice")).remedy("remove one of them"));
            }
        }
        exported
    }

    fn check_labels(&self, problems: &mut Vec<Problem>) {
        if self.workload_labels.is_empty() {
            let problem = Problem::new("spec.workloadLabels", "must name at least one label");
            problems.push(problem.remedy("name the labels of the workloads behind the service, as in app: my-server"));
        }
        check_count("spec.workloadLabels", "has", self.workload_labels.len(), MAX_WORKLOAD_LABELS, " entries", problems);
        for (key, value) in &self.workload_labels {
            if let Some(reason) = label_problem(key, value) {
                problems.push(Problem::new(format!("spec.workloadLabels[{key:?}]"), reason));
            }
        }
    }

    fn check_tls_mode(&self, problems: &mut Vec<Problem>) -> Option<TlsMode> {
        let remedy = "use Mtls where the application terminates TLS, IstioMtls where a proxy does";
        let problem = match self.tls_mode.parse() {
            Ok(mode) => return Some(mode),
            Err(_) if self.tls_mode.is_empty() => Problem::new("spec.tlsMode", "must be set, there is no default").remedy(remedy),
            Err(_) => {
                let meant = cofide_core::closest(&self.tls_mode, [TlsMode::Mtls, TlsMode::IstioMtls].map(TlsMode::as_str));
                let remedy = meant.map_or_else(|| remedy.to_owned(), |meant| format!("did you mean {meant}?"));
                Problem::new("spec.tlsMode", format!("{:?} is not a TLS mode", self.tls_mode)).remedy(remedy)
            }
        };
        problems.push(problem);
        None
    }
}

impl GatewaySpec {
    fn check(&self, path: &str, problems: &mut Vec<Problem>) -> Option<Gateway> {
        let at = |field: &str| format!("{path}.{field}");
        let kind = match self.kind.as_str() {
            "" => {
                problems.push(Problem::new(at("type"), "must be set").remedy("use istio-ingressgateway or istio-eastwestgateway"));
                None
            }
            kind => accept(&at("type"), kind.parse(), problems),
        };
        let port = accept(&at("port"), Port::try_from(i64::from(self.port)), problems);
        let [hostname, ip] = [&self.hostname, &self.ip].map(|text| text.as_deref().unwrap_or_default());
        let address = GatewayAddress::from_fields(hostname, ip);
        let address = match &address {
            Err(GatewayError::BothAddresses | GatewayError::NoAddress) => accept(path, address, problems),
            Err(GatewayError::Ip(_)) => accept(&at("ip"), address, problems),
            _ => accept(&at("hostname"), address, problems),
        };
        Some(Gateway { kind: kind?, address: address?, port: port? })
    }
}

/// What Kubernetes would say against a label (concepts, "labels and selectors", syntax and character set).
pub(crate) fn label_problem(key: &str, value: &str) -> Option<String> {
    let is_segment = |text: &str| {
        let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        text.len() <= 63
            && is_edge(bytes.first())
            && is_edge(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let rule = "at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";
    if prefix.is_some_and(|prefix| prefix.parse::<Hostname>().is_err()) {
        Some(format!("the part of the key before '/' must be a DNS name, not {:?}", prefix.unwrap_or_default()))
    } else if !is_segment(name) {
        Some(format!("a label's key has {rule}"))
    } else if !value.is_empty() && !is_segment(value) {
        Some(format!("a label's value has {rule}; {value:?} does not"))
    } else {
        None
    }
}
