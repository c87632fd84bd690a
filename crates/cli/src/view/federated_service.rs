//! Federated services.

use std::collections::BTreeMap;

use cofide_api::types::federated_service::{self as proto, FederatedService};
use cofide_core::{ConditionKind, Finding, Gateway, ServiceName, Severity, TlsMode, parse_trust_domain};
use serde::Serialize;

use super::{joined, moment, or_nothing};
use crate::printer::{Table, View};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FederatedServiceView {
    pub id: String,
    /// Absent where name, namespace and trust domain make no DNS name.
    pub hostname: Option<String>,
    pub name: String,
    pub namespace: String,
    pub trust_domain: String,
    pub cluster: String,
    pub port: u32,
    pub tls_mode: &'static str,
    pub exported_trust_domains: Vec<String>,
    pub workload_labels: BTreeMap<String, String>,
    pub spiffe_id_paths: Vec<String>,
    /// `manual` where the owner named them, else `discovered`.
    pub gateway_source: &'static str,
    pub gateways: Vec<GatewayView>,
    pub created_at: Option<String>,
    pub last_updated_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayView {
    #[serde(rename = "type")]
    pub kind: String,
    /// A host name or an IP address.
    pub address: String,
    pub port: u16,
    #[serde(skip)]
    text: String,
}

impl From<Gateway> for GatewayView {
    fn from(gateway: Gateway) -> Self {
        Self { kind: gateway.kind.to_string(), address: gateway.address.to_string(), port: gateway.port.get(), text: gateway.to_string() }
    }
}

impl FederatedServiceView {
    pub fn new(service: &FederatedService) -> Self {
        // What clients use, as `cofide_core::FederatedService::gateways` says it. One that cannot be read is one that nobody can use.
        let discovered = || service.gateway_entries.iter().map(Gateway::try_from).flat_map(Result::ok).map(Into::into).collect();
        let manual = || service.gateway_specs.iter().map(Gateway::try_from).flat_map(Result::ok).map(Into::into).collect();
        let (gateway_source, gateways) = if service.gateway_specs.is_empty() { ("discovered", discovered()) } else { ("manual", manual()) };
        Self {
            id: service.id.clone(),
            hostname: hostname(service),
            name: service.name.clone(),
            namespace: service.namespace.clone(),
            trust_domain: service.trust_domain.clone(),
            cluster: service.cluster_name.clone(),
            port: service.port,
            tls_mode: match service.tls_mode() {
                proto::TlsMode::Mtls => TlsMode::Mtls.as_str(),
                proto::TlsMode::IstioMtls => TlsMode::IstioMtls.as_str(),
                proto::TlsMode::Unspecified => "Unspecified",
            },
            exported_trust_domains: service.exported_trust_domains.clone(),
            workload_labels: service.workload_labels.clone(),
            spiffe_id_paths: service.spiffe_id_paths.clone(),
            gateway_source,
            gateways,
            created_at: moment!(service.created_at),
            last_updated_at: moment!(service.last_updated_at),
        }
    }

    fn shown_hostname(&self) -> String {
        or_nothing(self.hostname.as_deref())
    }

    fn shown_gateways(&self, separator: &str) -> String {
        or_nothing(Some(&self.gateways.iter().map(|gateway| gateway.text.as_str()).collect::<Vec<_>>().join(separator)))
    }

    fn fields(&self) -> Table {
        let labels: Vec<_> = self.workload_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Table::of_fields([
            ("Hostname", self.shown_hostname()),
            ("ID", self.id.clone()),
            ("Trust Domain", self.trust_domain.clone()),
            ("Cluster", self.cluster.clone()),
            ("Port", self.port.to_string()),
            ("TLS Mode", self.tls_mode.to_owned()),
            ("Exported To", self.exported_trust_domains.join("\n")),
            ("Gateways", self.shown_gateways("\n")),
            ("Gateway Source", self.gateway_source.to_owned()),
            ("Workload Labels", labels.join("\n")),
            ("SPIFFE ID Paths", or_nothing(Some(&self.spiffe_id_paths.join("\n")))),
        ])
    }
}

/// As the nouns build it, and only they.
fn hostname(service: &FederatedService) -> Option<String> {
    let name = ServiceName { name: service.name.parse().ok()?, namespace: service.namespace.parse().ok()? };
    let trust_domain = parse_trust_domain(&service.trust_domain).ok()?;
    name.hostname(&trust_domain).ok().map(Into::into)
}

#[derive(Clone, Debug, Serialize)]
pub struct FederatedServicesView(pub Vec<FederatedServiceView>);

impl View for FederatedServicesView {
    fn tables(&self) -> Vec<Table> {
        let row = |service: &FederatedServiceView| {
            vec![
                service.shown_hostname(),
                service.cluster.clone(),
                service.port.to_string(),
                service.tls_mode.to_owned(),
                joined(&service.exported_trust_domains),
                service.shown_gateways(", "),
            ]
        };
        let header = ["Hostname", "Cluster", "Port", "TLS Mode", "Exported To", "Gateways"];
        vec![Table::new(header).rows(self.0.iter().map(row))]
    }
}

/// What Connect knows of a service's state. The agent knows more, and says it in the status of the FederatedService.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionView {
    /// `Registered`, `GatewayReady`, or `Ready` for one of the trust domains that it is exported to.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub trust_domain: Option<String>,
    /// `True` or `False`.
    pub status: &'static str,
    pub message: String,
}

impl ConditionView {
    fn new(kind: ConditionKind, holds: bool, message: impl Into<String>) -> Self {
        let status = if holds { "True" } else { "False" };
        Self { kind: kind.as_str(), trust_domain: None, status, message: message.into() }
    }

    /// Whether one trust domain can use the service, by the links of the chain between the two.
    pub fn ready(trust_domain: &str, findings: &[Finding]) -> Self {
        let broken = findings.iter().find(|finding| finding.severity != Severity::Ok);
        let message = match broken {
            // What is well and comes with a remedy could be better.
            None => findings
                .iter()
                .filter(|finding| finding.remedy.is_some())
                .fold("every link to it holds".to_owned(), |said, Finding { message, .. }| format!("{said}; {message}")),
            Some(Finding { check, message, .. }) => format!("{check}: {message}"),
        };
        Self { trust_domain: Some(trust_domain.to_owned()), ..Self::new(ConditionKind::Ready, broken.is_none(), message) }
    }
}

/// A service with its state.
#[derive(Clone, Debug, Serialize)]
pub struct FederatedServiceDetail {
    #[serde(flatten)]
    pub service: FederatedServiceView,
    pub conditions: Vec<ConditionView>,
}

impl FederatedServiceDetail {
    /// With the condition `Ready` for each trust domain.
    pub fn new(service: FederatedServiceView, ready: impl IntoIterator<Item = ConditionView>) -> Self {
        let by = format!("Connect knows it from cluster {}", service.cluster);
        let gateways = match service.gateways.len() {
            0 => "Connect knows no gateway that leads to it".to_owned(),
            1 => "a gateway leads to it".to_owned(),
            many => format!("{many} gateways lead to it"),
        };
        let mut conditions = vec![
            ConditionView::new(ConditionKind::Registered, true, by),
            ConditionView::new(ConditionKind::GatewayReady, !service.gateways.is_empty(), gateways),
        ];
        conditions.extend(ready);
        Self { service, conditions }
    }
}

/// One hostname in full, once per cluster that exports it.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct FederatedServiceDetailsView(pub Vec<FederatedServiceDetail>);

impl View for FederatedServiceDetailsView {
    fn tables(&self) -> Vec<Table> {
        let conditions = |detail: &FederatedServiceDetail| {
            let row = |condition: &ConditionView| {
                let domain = condition.trust_domain.clone().unwrap_or_default();
                vec![condition.kind.to_owned(), domain, condition.status.to_owned(), condition.message.clone()]
            };
            Table::new(["Condition", "Trust Domain", "Status", "Reason"]).rows(detail.conditions.iter().map(row))
        };
        self.0.iter().flat_map(|detail| [detail.service.fields(), conditions(detail)]).collect()
    }
}
