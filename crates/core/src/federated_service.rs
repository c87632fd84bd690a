//! A service that one trust zone exports to others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Direction, DnsLabel, FederatedServiceId, Gateway, Hostname, Name, NameError, Port, Timestamp, TrustDomain, TrustZoneId,
};

/// The bounds of a federated service, the same for a manifest, in the CustomResourceDefinition and at Connect: what one of
/// them takes, the others take too. They are far more than a service has, but every importing cluster is sent what is in
/// these lists, so no exporter may make them long.
///
/// With the longest names that many trust domains are 260 kB, and the record of who owns which entry of a set
/// (`managedFields` of a Kubernetes object) takes as much again: safely within the 1.5 MiB that etcd stores of an object.
pub const MAX_EXPORTED_TRUST_DOMAINS: usize = 1024;
pub const MAX_WORKLOAD_LABELS: usize = 64;
pub const MAX_SPIFFE_ID_PATHS: usize = 64;
/// For the discovered gateways, and again for those written by hand.
pub const MAX_GATEWAYS: usize = 64;
/// Bytes of a [`SpiffeIdPath`] with its leading slash; a whole SPIFFE ID has no more (SPIFFE ID, section 2.3).
pub const MAX_SPIFFE_ID_PATH: usize = 2048;

/// How mutual TLS is handled. There is no default: whoever exports says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TlsMode {
    /// The server application terminates TLS with its own SVID; gateways pass it through.
    Mtls,
    /// A proxy beside the application (an Istio sidecar, or the gateway itself where there is none) terminates TLS; the
    /// application speaks plain text.
    IstioMtls,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown tlsMode {0:?}; use Mtls or IstioMtls")]
pub struct UnknownTlsMode(pub String);

impl TlsMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mtls => "Mtls",
            Self::IstioMtls => "IstioMtls",
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TlsMode {
    type Err = UnknownTlsMode;
    fn from_str(text: &str) -> Result<Self, UnknownTlsMode> {
        [Self::Mtls, Self::IstioMtls].into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| UnknownTlsMode(text.to_owned()))
    }
}

/// `spec.name` and `spec.namespace`: the two labels that a service contributes to its hostname.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceName {
    pub name: DnsLabel,
    pub namespace: DnsLabel,
}

impl ServiceName {
    /// The name by which remote clients reach the service: `{name}.{namespace}.{trust domain}`. Nothing else in the
    /// system builds it.
    ///
    /// Fails where the trust domain is no DNS name (SPIFFE allows `_`, DNS labels here do not) or the whole exceeds 253
    /// characters.
    pub fn hostname(&self, trust_domain: &TrustDomain) -> Result<Hostname, NameError> {
        format!("{}.{}.{}", self.name, self.namespace, trust_domain).parse()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The path of a server's SPIFFE ID, with its leading slash; written with or without one. At most [`MAX_SPIFFE_ID_PATH`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeIdPath(String);

impl SpiffeIdPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full SPIFFE ID of this path in a trust domain.
    pub fn in_trust_domain(&self, trust_domain: &TrustDomain) -> String {
        format!("spiffe://{trust_domain}{}", self.0)
    }
}

impl TryFrom<String> for SpiffeIdPath {
    type Error = FederatedServiceError;
    fn try_from(text: String) -> Result<Self, FederatedServiceError> {
        let path = if text.starts_with('/') { text } else { format!("/{text}") };
        if path.len() > MAX_SPIFFE_ID_PATH {
            return Err(FederatedServiceError::LongSpiffeIdPath(path.len()));
        }
        match spiffe::SpiffeId::new(format!("spiffe://x{path}")) {
            Ok(_) => Ok(Self(path)),
            Err(error) => Err(FederatedServiceError::SpiffeIdPath { path, reason: error.to_string() }),
        }
    }
}

impl FromStr for SpiffeIdPath {
    type Err = FederatedServiceError;
    fn from_str(text: &str) -> Result<Self, FederatedServiceError> {
        Self::try_from(text.to_owned())
    }
}

impl From<SpiffeIdPath> for String {
    fn from(path: SpiffeIdPath) -> Self {
        path.0
    }
}

/// What is wrong with a description of a federated service, apart from single names and numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FederatedServiceError {
    #[error("the list of exported trust domains must not be empty")]
    NoExportedTrustDomain,
    #[error("trust domain {0} is listed twice")]
    DuplicateTrustDomain(TrustDomain),
    #[error("trust domain {0} is the service's own; a service is exported to other trust domains")]
    OwnTrustDomain(TrustDomain),
    #[error("the workload labels must not be empty")]
    NoWorkloadLabels,
    #[error("a SPIFFE ID path has at most {MAX_SPIFFE_ID_PATH} bytes with its leading slash, this one has {0}")]
    LongSpiffeIdPath(usize),
    #[error("{path:?} is not a SPIFFE ID path: {reason}")]
    SpiffeIdPath { path: String, reason: String },
}

/// A federated service as its agent registers it and Connect keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedService {
    pub id: FederatedServiceId,
    pub name: ServiceName,
    pub trust_zone_id: TrustZoneId,
    pub cluster_id: ClusterId,
    pub cluster_name: Name,
    pub trust_domain: TrustDomain,
    /// Derived from `name` and `trust_domain` by [`ServiceName::hostname`], kept so that it need not be derived again.
    pub hostname: Hostname,
    pub workload_labels: BTreeMap<String, String>,
    /// Never empty, never the service's own.
    pub exported_trust_domains: BTreeSet<TrustDomain>,
    pub port: Port,
    pub tls_mode: TlsMode,
    /// What the agent discovered.
    pub gateway_entries: Vec<Gateway>,
    /// What the owner wrote by hand; where any is given, they replace the discovered ones.
    pub gateway_specs: Vec<Gateway>,
    /// Paths of the SPIFFE IDs that the servers present; empty where any ID of the trust domain will do.
    pub spiffe_id_paths: Vec<SpiffeIdPath>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl FederatedService {
    /// The gateways that clients use: the manual ones where there are any, else the discovered ones.
    pub fn gateways(&self) -> &[Gateway] {
        if self.gateway_specs.is_empty() { &self.gateway_entries } else { &self.gateway_specs }
    }

    /// The rules between fields that no single field's type can hold.
    pub fn check_exports(own: &TrustDomain, exported: &[TrustDomain]) -> Result<BTreeSet<TrustDomain>, FederatedServiceError> {
        if exported.is_empty() {
            return Err(FederatedServiceError::NoExportedTrustDomain);
        }
        let mut seen = BTreeSet::new();
        for trust_domain in exported {
            if trust_domain == own {
                return Err(FederatedServiceError::OwnTrustDomain(own.clone()));
            }
            if !seen.insert(trust_domain.clone()) {
                return Err(FederatedServiceError::DuplicateTrustDomain(trust_domain.clone()));
            }
        }
        Ok(seen)
    }
}

/// What became of one exported trust domain of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportTarget {
    pub trust_domain: TrustDomain,
    /// Empty where the domain's clusters may import the service.
    pub refusal: Option<ExportRefusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportRefusal {
    /// No trust zone has this trust domain.
    UnknownTrustDomain,
    /// One or both directions of federation are missing; both are named.
    FederationMissing(Vec<Direction>),
}

/// What Connect tells the agent that exports a service about its consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedService {
    pub service_id: FederatedServiceId,
    pub hostname: Hostname,
    /// One for each exported trust domain, in their order.
    pub targets: Vec<ExportTarget>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hostname_is_name_namespace_and_trust_domain() {
        let service = ServiceName { name: "server".parse().unwrap(), namespace: "demo".parse().unwrap() };
        let hostname = |trust_domain: &str| service.hostname(&TrustDomain::new(trust_domain).unwrap());
        assert_eq!(hostname("local.domain").unwrap().as_str(), "server.demo.local.domain");
        assert!(hostname("under_score").is_err(), "not a DNS name");
        assert!(hostname(&vec!["abcdefgh"; 28].join(".")).is_err(), "longer than 253 characters");
    }

    #[test]
    fn a_path_is_the_same_with_and_without_its_slash() {
        assert_eq!("ns/demo/sa/server".parse::<SpiffeIdPath>(), "/ns/demo/sa/server".parse());
        for bad in ["", "/", "a//b", "a/../b", "a b"] {
            assert!(bad.parse::<SpiffeIdPath>().is_err(), "{bad:?}");
        }
        let long = "x".repeat(MAX_SPIFFE_ID_PATH);
        assert_eq!(long[1..].parse::<SpiffeIdPath>().unwrap().as_str().len(), MAX_SPIFFE_ID_PATH);
        assert_eq!(long.parse::<SpiffeIdPath>(), Err(FederatedServiceError::LongSpiffeIdPath(MAX_SPIFFE_ID_PATH + 1)));
    }

    #[test]
    fn a_service_is_exported_to_others_and_to_each_once() {
        let domains = |names: &[&str]| names.iter().map(|name| TrustDomain::new(name).unwrap()).collect::<Vec<_>>();
        let own = TrustDomain::new("a.test").unwrap();
        assert_eq!(FederatedService::check_exports(&own, &[]), Err(FederatedServiceError::NoExportedTrustDomain));
        assert!(matches!(FederatedService::check_exports(&own, &domains(&["a.test"])), Err(FederatedServiceError::OwnTrustDomain(_))));
        assert!(matches!(
            FederatedService::check_exports(&own, &domains(&["b.test", "b.test"])),
            Err(FederatedServiceError::DuplicateTrustDomain(_))
        ));
        assert_eq!(FederatedService::check_exports(&own, &domains(&["b.test", "c.test"])).unwrap().len(), 2);
    }
}
