//! Secrets for Envoy, over streams of both dialects.

use std::collections::BTreeMap;

use cofide_api::spire::server::localauthority::{ActivateX509AuthorityRequest, PrepareX509AuthorityRequest};
use cofide_api::spire::types::Entry;
use cofide_svid::X509Svid;
use cofide_xds::Node;
use cofide_xds::envoy::envoy::config::core::v3::BuildVersion;
use cofide_xds::envoy::envoy::config::core::v3::node::UserAgentVersionType;
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::{Secret, SpiffeCertValidatorConfig};
use cofide_xds::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse};
use cofide_xds::envoy::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use cofide_xds::envoy::envoy::r#type::v3::SemanticVersion;
use prost::Message;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::support::*;

async fn client(server: &TestServer) -> SecretDiscoveryServiceClient<Channel> {
    SecretDiscoveryServiceClient::new(channel(&server.bound.workload_api_socket).await)
}

/// A stream that asks for these names and acknowledges whatever comes.
struct Secrets {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    names: Vec<String>,
}

impl Secrets {
    async fn open(server: &TestServer, names: &[&str]) -> Self {
        let (requests, outgoing) = mpsc::channel(8);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        requests.send(DiscoveryRequest { resource_names: names.clone(), ..DiscoveryRequest::default() }).await.unwrap();
        let responses = client(server).await.stream_secrets(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, responses, names }
    }

    async fn next(&mut self) -> BTreeMap<String, Type> {
        let response = next(&mut self.responses).await;
        let acknowledgement = DiscoveryRequest {
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: self.names.clone(),
            ..DiscoveryRequest::default()
        };
        self.requests.send(acknowledgement).await.unwrap();
        read(&response)
    }
}

fn read(response: &DiscoveryResponse) -> BTreeMap<String, Type> {
    let secret = |any: &cofide_xds::Any| {
        let secret = Secret::decode(any.value.as_slice()).unwrap();
        (secret.name, secret.r#type.unwrap())
    };
    response.resources.iter().map(secret).collect()
}

fn certificate(secret: &Type) -> X509Svid {
    let Type::TlsCertificate(certificate) = secret else { panic!("{secret:?} is no certificate") };
    let text = |source: &Option<_>| {
        let source: &cofide_xds::envoy::envoy::config::core::v3::DataSource = source.as_ref().unwrap();
        match source.specifier.as_ref().unwrap() {
            cofide_xds::envoy::envoy::config::core::v3::data_source::Specifier::InlineBytes(bytes) => {
                String::from_utf8(bytes.clone()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    };
    X509Svid::from_pem(&text(&certificate.certificate_chain), &text(&certificate.private_key)).unwrap()
}

/// The trust domains that a validation context knows, each with its own bundle.
fn trusted(secret: &Type) -> Vec<String> {
    let Type::ValidationContext(context) = secret else { panic!("{secret:?} is no validation context") };
    let validator = context.custom_validator_config.as_ref().unwrap();
    assert_eq!(validator.name, "envoy.tls.cert_validator.spiffe");
    assert!(context.trusted_ca.is_none(), "a plain list of authorities would let each vouch for all");
    let config = SpiffeCertValidatorConfig::decode(validator.typed_config.as_ref().unwrap().value.as_slice()).unwrap();
    config.trust_domains.into_iter().map(|domain| domain.name).collect()
}

#[tokio::test]
async fn an_envoy_gets_its_identity_and_one_bundle_for_each_domain() {
    let server = TestServer::start("a.test").await;
    server.api.set_bundle(&TestServer::start("b.test").await.api.bundle().await).await;
    server.api.set_bundle(&TestServer::start("c.test").await.api.bundle().await).await;
    server.api.register(Entry { federates_with: vec!["b.test".into()], ..server.entry("/x") }).await;
    let names = ["default", "ROOTCA", "ALL", "spiffe://a.test/x", "spiffe://a.test", "spiffe://b.test", "spiffe://c.test", "nonsense"];
    let secrets = Secrets::open(&server, &names).await.next().await;
    assert_eq!(secrets.keys().collect::<Vec<_>>(), ["ALL", "ROOTCA", "default", "spiffe://a.test", "spiffe://a.test/x", "spiffe://b.test"]);
    let svid = certificate(&secrets["default"]);
    assert_eq!(svid.spiffe_id.to_string(), "spiffe://a.test/x");
    assert_eq!(svid.leaf(), certificate(&secrets["spiffe://a.test/x"]).leaf());
    accepts(&server.api.bundle().await, &svid).unwrap();
    assert_eq!(trusted(&secrets["ROOTCA"]), ["a.test"]);
    assert_eq!(trusted(&secrets["ALL"]), ["a.test", "b.test"], "c.test is held, but not for this workload");
    assert_eq!(trusted(&secrets["spiffe://b.test"]), ["b.test"]);
}

#[tokio::test]
async fn an_envoy_without_a_validator_for_spiffe_gets_single_bundles_as_lists_and_never_all_of_them() {
    let server = TestServer::start("a.test").await;
    server.api.set_bundle(&TestServer::start("b.test").await.api.bundle().await).await;
    server.api.register(Entry { federates_with: vec!["b.test".into()], ..server.entry("/x") }).await;
    for (minor_number, is_list) in [(17, true), (18, false)] {
        let version = Some(SemanticVersion { major_number: 1, minor_number, patch: 0 });
        let build = UserAgentVersionType::UserAgentBuildVersion(BuildVersion { version, metadata: None });
        let request = DiscoveryRequest {
            node: Some(Node { user_agent_version_type: Some(build), ..Node::default() }),
            resource_names: ["ROOTCA", "spiffe://b.test", "ALL"].map(str::to_owned).to_vec(),
            ..DiscoveryRequest::default()
        };
        let secrets = read(&client(&server).await.fetch_secrets(request).await.unwrap().into_inner());
        assert_eq!(secrets.contains_key("ALL"), !is_list);
        for name in ["ROOTCA", "spiffe://b.test"] {
            let Type::ValidationContext(context) = &secrets[name] else { panic!("{name} is no validation context") };
            assert_eq!((context.trusted_ca.is_some(), context.custom_validator_config.is_some()), (is_list, !is_list), "{name}");
        }
    }
}

#[tokio::test]
async fn a_secret_waits_for_its_entry_and_follows_its_changes() {
    let server = TestServer::start("a.test").await;
    let partner = TestServer::start("b.test").await.api.bundle().await;
    let (mut identity, mut bundles) = (Secrets::open(&server, &["default"]).await, Secrets::open(&server, &["ALL"]).await);
    let entry = server.api.register(server.entry("/x")).await;
    let before = certificate(&identity.next().await["default"]);
    assert_eq!(trusted(&bundles.next().await["ALL"]), ["a.test"]);

    server.api.set_bundle(&partner).await;
    server.api.update(Entry { federates_with: vec!["b.test".into()], ..entry.clone() }).await;
    assert_eq!(trusted(&bundles.next().await["ALL"]), ["a.test", "b.test"]);

    let mut authorities = server.api.authorities().await;
    let prepared =
        authorities.prepare_x509_authority(PrepareX509AuthorityRequest {}).await.unwrap().into_inner().prepared_authority.unwrap();
    assert_eq!(trusted(&bundles.next().await["ALL"]), ["a.test", "b.test"]);
    let activate = ActivateX509AuthorityRequest { authority_id: prepared.authority_id };
    authorities.activate_x509_authority(activate).await.unwrap();
    let after = certificate(&identity.next().await["default"]);
    assert_ne!(after.leaf(), before.leaf());

    server.api.unregister(&entry.id).await;
    let status = end(&mut identity.responses).await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "no identity issued"));
}

#[tokio::test]
async fn the_delta_dialect_carries_the_same_secrets() {
    let server = TestServer::start("a.test").await;
    let entry = server.api.register(server.entry("/x")).await;
    let (requests, outgoing) = mpsc::channel(8);
    let subscribe = ["default", "ALL", "spiffe://b.test"].map(str::to_owned).to_vec();
    requests.send(DeltaDiscoveryRequest { resource_names_subscribe: subscribe, ..DeltaDiscoveryRequest::default() }).await.unwrap();
    let mut responses = client(&server).await.delta_secrets(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    let mut held = BTreeMap::new();
    while held.len() < 2 {
        let response = next(&mut responses).await;
        held.extend(response.resources.into_iter().map(|resource| (resource.name, resource.version)));
        requests.send(DeltaDiscoveryRequest { response_nonce: response.nonce, ..DeltaDiscoveryRequest::default() }).await.unwrap();
    }
    assert_eq!(held.keys().collect::<Vec<_>>(), ["ALL", "default"]);
    server.api.set_bundle(&TestServer::start("b.test").await.api.bundle().await).await;
    server.api.update(Entry { federates_with: vec!["b.test".into()], ..entry }).await;
    let mut changed = Vec::new();
    while changed.len() < 2 {
        let response = next(&mut responses).await;
        changed.extend(response.resources.into_iter().map(|resource| resource.name));
        requests.send(DeltaDiscoveryRequest { response_nonce: response.nonce, ..DeltaDiscoveryRequest::default() }).await.unwrap();
    }
    changed.sort();
    assert_eq!(changed, ["ALL", "spiffe://b.test"], "the certificate is the same and is not sent again");
}

#[tokio::test]
async fn names_are_configurable_and_a_fetch_answers_once() {
    let names = json!({"default_bundle_name": "null", "default_all_bundles_name": "ROOTCA"});
    let server = TestServer::start_with("a.test", json!({"sds": names})).await;
    server.api.set_bundle(&TestServer::start("b.test").await.api.bundle().await).await;
    server.api.register(Entry { federates_with: vec!["b.test".into()], ..server.entry("/x") }).await;
    let request = DiscoveryRequest { resource_names: vec!["ROOTCA".into(), "null".into(), "ALL".into()], ..DiscoveryRequest::default() };
    let secrets = read(&client(&server).await.fetch_secrets(request).await.unwrap().into_inner());
    assert_eq!(secrets.keys().collect::<Vec<_>>(), ["ROOTCA", "null"]);
    assert_eq!(trusted(&secrets["ROOTCA"]), ["a.test", "b.test"]);
    assert_eq!(trusted(&secrets["null"]), ["a.test"]);
}
