//! SPIFFE mTLS by Envoy: identity and trust come from the SPIFFE Workload API's SDS, never through the agent.
//!
//! The agent names what to fetch (`default`: the SVID of the process that Envoy is; `ALL` or `ROOTCA`
//! ([`TrustBundles`]): every trust bundle of that SVID, as a configuration of Envoy's SPIFFE certificate validator, which verifies a peer against the bundle of the
//! peer's own trust domain) and from where (the cluster `sds-grpc` of the bootstrap). To that it adds whom to accept. Envoy
//! merges the two.

use std::collections::BTreeSet;
use std::time::Duration;

use cofide_core::{ImportedService, TrustDomain};
use cofide_xds::envoy::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, GrpcService, TransportSocket, api_config_source::ApiType,
    config_source::ConfigSourceSpecifier, grpc_service, transport_socket,
};
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher, TlsParameters,
    UpstreamTlsContext,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    downstream_tls_context::SessionTicketKeysType,
    subject_alt_name_matcher::SanType,
    tls_parameters::TlsProtocol,
};
use cofide_xds::envoy::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::{Message, Name};

use super::wire;
use crate::bootstrap::SDS_CLUSTER;

/// How long a listener or cluster waits for its first secrets before it takes up its work without them: connections that
/// need them are refused then, those that need none are not held up.
const SECRET_WAIT: Duration = Duration::from_secs(2);

/// Under which name the SPIFFE Workload API's SDS gives all trust bundles of a workload. That is a matter of how the zone's
/// SPIFFE agents are configured, and a mesh needs it in its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustBundles {
    /// `ALL`: SPIRE's own default.
    #[default]
    All,
    /// `ROOTCA`: what Istio's proxies ask for, so where there is a mesh, all bundles have this name and no other.
    RootCa,
}

impl TrustBundles {
    fn secret_name(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::RootCa => "ROOTCA",
        }
    }
}

/// Which SPIFFE IDs to accept. Never empty: to Envoy an empty list means anybody.
pub(super) struct AcceptedIds(Vec<MatchPattern>);

impl AcceptedIds {
    /// The clients of an exported service: any ID of the trust domains that it is exported to; `None` where there are none.
    pub(super) fn of_clients(admitted: &BTreeSet<TrustDomain>) -> Option<Self> {
        (!admitted.is_empty()).then(|| Self(admitted.iter().map(any_in).collect()))
    }

    /// The servers of an imported service: the IDs that it names, else any of its trust domain.
    fn of_servers(import: &ImportedService) -> Self {
        let ids = import.server_spiffe_ids();
        Self(if ids.is_empty() { vec![any_in(&import.trust_domain)] } else { ids.into_iter().map(MatchPattern::Exact).collect() })
    }
}

/// The slash at the end of the prefix keeps `a.test.evil` out of `a.test`.
fn any_in(trust_domain: &TrustDomain) -> MatchPattern {
    MatchPattern::Prefix(format!("spiffe://{trust_domain}/"))
}

/// Speaks mTLS to whoever connects.
///
/// Sessions are never resumed: a resumed handshake shows no certificate, and would outlive the trust that admitted the first.
pub(super) fn downstream(accepted: AcceptedIds, bundles: TrustBundles) -> TransportSocket {
    transport_socket(&DownstreamTlsContext {
        common_tls_context: Some(common(accepted, bundles)),
        require_client_certificate: wire::boolean(true),
        disable_stateful_session_resumption: true,
        session_ticket_keys_type: Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        ..Default::default()
    })
}

/// Speaks mTLS to the servers of an import. No session is resumed, as for [`downstream`].
pub(super) fn upstream(import: &ImportedService, bundles: TrustBundles) -> TransportSocket {
    let alpn_protocols = import.application_protocols().iter().map(|protocol| (*protocol).to_owned()).collect();
    transport_socket(&UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext { alpn_protocols, ..common(AcceptedIds::of_servers(import), bundles) }),
        sni: import.server_name(),
        max_session_keys: wire::number(0),
        ..Default::default()
    })
}

fn transport_socket<M: Message + Name>(context: &M) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".into(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(wire::typed(context))),
    }
}

fn common(AcceptedIds(patterns): AcceptedIds, bundles: TrustBundles) -> CommonTlsContext {
    let matchers = patterns.into_iter().map(|pattern| SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(StringMatcher { match_pattern: Some(pattern), ..Default::default() }),
        ..Default::default()
    });
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: matchers.collect(),
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(secret(bundles.secret_name())),
        ..Default::default()
    };
    CommonTlsContext {
        // Envoy's default as a client ends at TLS 1.2.
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..Default::default()
        }),
        tls_certificate_sds_secret_configs: vec![secret("default")],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..Default::default()
    }
}

/// All contexts name their secrets in the same words, so Envoy fetches each secret once for all of them.
fn secret(name: &str) -> SdsSecretConfig {
    let envoy_grpc = grpc_service::EnvoyGrpc { cluster_name: SDS_CLUSTER.into(), ..Default::default() };
    let service = GrpcService { target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(envoy_grpc)), ..Default::default() };
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    let sds_config = ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        initial_fetch_timeout: wire::duration(SECRET_WAIT),
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source)),
        ..Default::default()
    };
    SdsSecretConfig { name: name.into(), sds_config: Some(sds_config) }
}
