//! A control plane on port 0, and everything around it that a test needs: clients, zones with authorities of their own,
//! agents that have joined.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_api::connect::agent_service::agent_service_client::AgentServiceClient;
use cofide_api::connect::agent_service::{CreateAgentJoinTokenRequest, ListFederatedServicesRequest};
use cofide_api::connect::ap_binding_service::ap_binding_service_client::ApBindingServiceClient;
use cofide_api::connect::attestation_policy_service::attestation_policy_service_client::AttestationPolicyServiceClient;
use cofide_api::connect::audit_service::audit_service_client::AuditServiceClient;
use cofide_api::connect::bundle_package_service::bundle_package_service_client::BundlePackageServiceClient;
use cofide_api::connect::cluster_service::CreateClusterRequest;
use cofide_api::connect::cluster_service::cluster_service_client::ClusterServiceClient;
use cofide_api::connect::explain_service::explain_service_client::ExplainServiceClient;
use cofide_api::connect::federation_service::CreateFederationRequest;
use cofide_api::connect::federation_service::federation_service_client::FederationServiceClient;
use cofide_api::connect::organization_service::organization_service_client::OrganizationServiceClient;
use cofide_api::connect::receipt_service::receipt_service_client::ReceiptServiceClient;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_api::connect::trust_zone_service::{Agent, CreateTrustZoneRequest, RegisterAgentRequest};
use cofide_api::spire::types::Bundle as ProtoBundle;
use cofide_api::types;
use cofide_connect::{Bound, Config};
use cofide_core::{SpiffeId, TrustDomain};
use cofide_svid::authority::{self, X509CertificateAuthority, X509Settings};
use cofide_svid::{Authorizer, BundleSet, IdentitySlot, IdentitySource, X509Svid, bundle, tls};
use cofide_xds::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub(crate) struct Plane {
    pub(crate) address: SocketAddr,
    pub(crate) plaintext_address: Option<SocketAddr>,
    pub(crate) folder: TempDir,
    pub(crate) credential: serde_json::Value,
    bound: Bound,
    shutdown: CancellationToken,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// On the data folder of a control plane that has stopped.
    pub(crate) async fn start_in(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config =
            Config { data_dir: folder.path().join("data"), listen_address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
        change(&mut config);
        let shutdown = CancellationToken::new();
        let bound = Box::pin(cofide_connect::run(config, shutdown.clone())).await.unwrap();
        let credential = serde_json::from_slice(&std::fs::read(&bound.credential.path).unwrap()).unwrap();
        Self { address: bound.address, plaintext_address: bound.plaintext_address, folder, credential, bound, shutdown }
    }

    pub(crate) fn bundle_endpoint_address(&self) -> SocketAddr {
        self.bound.bundle_endpoint_address.unwrap()
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.bound.stopped().await.unwrap();
        self.folder
    }

    /// An answer of the admin port, headers and all.
    pub(crate) async fn scrape(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.bound.admin_address.unwrap()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub(crate) fn token(&self) -> String {
        self.credential["access_token"].as_str().unwrap().to_owned()
    }

    /// What a client verifies the control plane with: the bundle and the exact SPIFFE ID of the credential file.
    fn trust(&self) -> (Arc<BundleSet>, Authorizer) {
        let trust_domain = TrustDomain::new(self.credential["connect_trust_domain"].as_str().unwrap()).unwrap();
        let id = SpiffeId::new(self.credential["connect_spiffe_id"].as_str().unwrap()).unwrap();
        let jwks = match &self.credential["connect_bundle"] {
            serde_json::Value::String(text) => text.clone(),
            object => object.to_string(),
        };
        let bundle = bundle::from_jwks(&trust_domain, jwks.as_bytes()).unwrap();
        (Arc::new(BundleSet::from_iter([bundle])), Authorizer::Exactly(id))
    }

    /// A connection over TLS, with a client certificate where one is given.
    pub(crate) async fn connect(&self, svid: Option<X509Svid>) -> Result<Channel, tonic::transport::Error> {
        let (bundles, server) = self.trust();
        let identity = svid.map(|svid| Arc::new(IdentitySlot::new(svid)) as Arc<dyn IdentitySource>);
        let mut config = tls::client_config(identity, bundles, server);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (connector, address) = (TlsConnector::from(Arc::new(config)), self.address);
        let connect = move |_| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        };
        Endpoint::from_static("http://localhost").connect_with_connector(tower::service_fn(connect)).await
    }

    /// A connection over TLS on which nothing is said yet.
    pub(crate) async fn silent(&self, svid: Option<X509Svid>) -> tokio_rustls::client::TlsStream<TcpStream> {
        let (bundles, server) = self.trust();
        let identity = svid.map(|svid| Arc::new(IdentitySlot::new(svid)) as Arc<dyn IdentitySource>);
        let mut config = tls::client_config(identity, bundles, server);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    pub(crate) async fn anonymous(&self) -> Client {
        Client::new(self.connect(None).await.unwrap(), None)
    }

    pub(crate) async fn user(&self, token: &str) -> Client {
        Client::new(self.connect(None).await.unwrap(), Some(token))
    }

    pub(crate) async fn admin(&self) -> Client {
        self.user(&self.token()).await
    }

    pub(crate) async fn workload(&self, svid: X509Svid) -> Client {
        Client::new(self.connect(Some(svid)).await.unwrap(), None)
    }

    /// As [`Self::workload`], where the control plane may not know the workload's authority yet.
    pub(crate) async fn workload_if_any(&self, svid: X509Svid) -> Option<Client> {
        let client = Client::new(self.connect(Some(svid)).await.ok()?, None);
        let known = client.agents().list_federated_services(ListFederatedServicesRequest::default()).await;
        known.is_ok().then_some(client)
    }

    /// A trust zone `name` with the trust domain `name.test`.
    pub(crate) async fn zone(&self, name: &str) -> Zone {
        let trust_domain = format!("{name}.test");
        let message = types::trust_zone::TrustZone { name: name.into(), trust_domain: trust_domain.clone(), ..Default::default() };
        let request = CreateTrustZoneRequest { trust_zone: Some(message) };
        let zone = self.admin().await.trust_zones().create_trust_zone(request).await.unwrap().into_inner().trust_zone.unwrap();
        Zone { id: zone.id.unwrap(), authority: Authority::new(&trust_domain) }
    }

    pub(crate) async fn cluster(&self, zone: &Zone, name: &str) -> String {
        let message = types::cluster::Cluster {
            name: Some(name.into()),
            trust_zone_id: Some(zone.id.clone()),
            profile: Some("host".into()),
            ..Default::default()
        };
        let request = CreateClusterRequest { cluster: Some(message) };
        self.admin().await.clusters().create_cluster(request).await.unwrap().into_inner().cluster.unwrap().id.unwrap()
    }

    pub(crate) async fn join_token(&self, zone: &Zone, cluster_id: &str) -> String {
        let request = CreateAgentJoinTokenRequest { trust_zone_id: Some(zone.id.clone()), cluster_id: Some(cluster_id.into()) };
        self.admin().await.agents().create_agent_join_token(request).await.unwrap().into_inner().agent_token.unwrap()
    }

    /// A cluster whose agent has joined, and the agent's connection.
    pub(crate) async fn joined(&self, zone: &Zone, cluster: &str) -> JoinedCluster {
        let cluster_id = self.cluster(zone, cluster).await;
        let token = self.join_token(zone, &cluster_id).await;
        let agent_id = self
            .anonymous()
            .await
            .trust_zones()
            .register_agent(introduction(zone, &cluster_id, &token))
            .await
            .unwrap()
            .into_inner()
            .agent_id;
        let agent = self.workload(zone.authority.agent(cluster)).await;
        JoinedCluster { id: cluster_id, agent_id, agent }
    }

    pub(crate) async fn federate(&self, from: &Zone, to: &Zone) -> String {
        let message = types::federation::Federation {
            trust_zone_id: Some(from.id.clone()),
            remote_trust_zone_id: Some(to.id.clone()),
            ..Default::default()
        };
        let request = CreateFederationRequest { federation: Some(message) };
        self.admin().await.federations().create_federation(request).await.unwrap().into_inner().federation.unwrap().id.unwrap()
    }
}

pub(crate) struct Zone {
    pub(crate) id: String,
    pub(crate) authority: Authority,
}

impl Zone {
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        self.authority.0.trust_domain()
    }
}

/// The certificate authority of a trust domain, as its SPIRE server has it.
#[derive(Clone)]
pub(crate) struct Authority(pub(crate) X509CertificateAuthority);

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let domain = TrustDomain::new(trust_domain).unwrap();
        Self(X509CertificateAuthority::create(domain, X509Settings::default(), SystemTime::now()).unwrap())
    }

    pub(crate) fn svid(&self, path: &str) -> X509Svid {
        let id = SpiffeId::new(format!("spiffe://{}{path}", self.0.trust_domain())).unwrap();
        self.0.issue(&id, &[], &[], Duration::from_secs(3600), SystemTime::now()).unwrap()
    }

    /// What the agent of a cluster presents.
    pub(crate) fn agent(&self, cluster: &str) -> X509Svid {
        self.svid(&format!("/cluster/{cluster}/ns/cofide/sa/cofide-agent"))
    }

    pub(crate) fn bundle(&self) -> ProtoBundle {
        (&authority::bundle(&self.0, None, 0)).into()
    }
}

pub(crate) struct JoinedCluster {
    pub(crate) id: String,
    pub(crate) agent_id: String,
    pub(crate) agent: Client,
}

pub(crate) fn introduction(zone: &Zone, cluster_id: &str, token: &str) -> RegisterAgentRequest {
    RegisterAgentRequest {
        agent: Some(Agent { agent_id: String::new(), cluster_id: cluster_id.into(), trust_zone_id: zone.id.clone() }),
        agent_token: token.into(),
        bundle: Some(zone.authority.bundle()),
    }
}

/// A caller: a connection, and what it puts into the metadata of each call.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    metadata: MetadataMap,
}

#[derive(Clone)]
pub(crate) struct AddMetadata(MetadataMap);

impl Interceptor for AddMetadata {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        *request.metadata_mut() = self.0.clone();
        Ok(request)
    }
}

type Service = InterceptedService<Channel, AddMetadata>;

impl Client {
    pub(crate) fn new(channel: Channel, token: Option<&str>) -> Self {
        let mut client = Self { channel, metadata: MetadataMap::new() };
        if let Some(token) = token {
            client = client.with("authorization", &format!("Bearer {token}"));
        }
        client
    }

    pub(crate) fn with(mut self, key: &'static str, value: &str) -> Self {
        self.metadata.insert(key, value.parse::<MetadataValue<Ascii>>().unwrap());
        self
    }

    pub(crate) fn service(&self) -> Service {
        InterceptedService::new(self.channel.clone(), AddMetadata(self.metadata.clone()))
    }

    pub(crate) fn trust_zones(&self) -> TrustZoneServiceClient<Service> {
        TrustZoneServiceClient::new(self.service())
    }
    pub(crate) fn clusters(&self) -> ClusterServiceClient<Service> {
        ClusterServiceClient::new(self.service())
    }
    pub(crate) fn federations(&self) -> FederationServiceClient<Service> {
        FederationServiceClient::new(self.service())
    }
    pub(crate) fn policies(&self) -> AttestationPolicyServiceClient<Service> {
        AttestationPolicyServiceClient::new(self.service())
    }
    pub(crate) fn bindings(&self) -> ApBindingServiceClient<Service> {
        ApBindingServiceClient::new(self.service())
    }
    pub(crate) fn agents(&self) -> AgentServiceClient<Service> {
        AgentServiceClient::new(self.service())
    }
    pub(crate) fn organizations(&self) -> OrganizationServiceClient<Service> {
        OrganizationServiceClient::new(self.service())
    }
    pub(crate) fn audit(&self) -> AuditServiceClient<Service> {
        AuditServiceClient::new(self.service())
    }
    pub(crate) fn bundle_packages(&self) -> BundlePackageServiceClient<Service> {
        BundlePackageServiceClient::new(self.service())
    }
    pub(crate) fn receipts(&self) -> ReceiptServiceClient<Service> {
        ReceiptServiceClient::new(self.service())
    }
    pub(crate) fn explain(&self) -> ExplainServiceClient<Service> {
        ExplainServiceClient::new(self.service())
    }
    pub(crate) fn discovery(&self) -> AggregatedDiscoveryServiceClient<Service> {
        AggregatedDiscoveryServiceClient::new(self.service())
    }
}

/// Asserts that a call was refused with this code and a message that holds all of these.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, holds: &[&str]) {
    let status = answer.expect_err("the call succeeded");
    assert_eq!(status.code(), code, "{status:?}");
    for part in holds {
        assert!(status.message().contains(part), "{part:?} is not in {:?}", status.message());
    }
}

/// Asks again until the answer is as wanted; on failure shows where it was asked and the last answer.
#[track_caller]
pub(crate) fn eventually<T: std::fmt::Debug, F: Future<Output = T>>(
    ask: impl FnMut() -> F,
    is_wanted: impl Fn(&T) -> bool,
) -> impl Future<Output = T> {
    cofide_testkit::wait::eventually("the answer that is wanted", ask, is_wanted)
}
