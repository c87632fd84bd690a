//! Istio without injection and images: istiod as a process, and stock Envoys that it programs.
//!
//! An Envoy becomes a proxy of the mesh by its node: istiod reads from the id whether it is a gateway or a sidecar and which
//! pod it is, and from the metadata what its pod would have told it. Its identity comes over SDS from the static cluster
//! `sds-grpc`, as in a mesh with SPIRE; until something serves SDS there, no cluster with mTLS warms, and no listener opens.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;

use super::network::Host;
use super::parts::install;
use super::process::Process;
use super::{Cluster, PARENT, Pod};
use crate::envoy::Envoy;

/// Where istiod's own objects are, and the gateways.
pub const ISTIO_NAMESPACE: &str = "istio-system";
/// What the Envoys say that they are; it decides which features istiod uses with them.
const ISTIO_VERSION: &str = "1.31.1";
const DISCOVERY_PORT: u16 = 15010;
const ADMIN_PORT: u16 = 15000;
/// Whose connections the redirects of a sidecar leave alone; that of Istio's own proxy too.
const PROXY_GROUP: u32 = 1337;
const START_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// What a mesh is configured with.
#[derive(Clone, Debug)]
pub struct Mesh {
    pub trust_domain: String,
    /// Whether sidecars refuse certificates of other trust domains than the mesh's own, as istiod has it by default.
    pub validates_trust_domains: bool,
    /// More of Istio's MeshConfig; wins over what the lab sets.
    pub config: Map<String, Value>,
}

impl Mesh {
    pub fn new(trust_domain: &str) -> Self {
        Self { trust_domain: trust_domain.to_owned(), config: Map::new(), validates_trust_domains: false }
    }

    fn document(&self) -> Value {
        let mut document = json!({ "trustDomain": self.trust_domain, "rootNamespace": ISTIO_NAMESPACE, "accessLogFile": "/dev/stdout" });
        for (key, value) in &self.config {
            document[key] = value.clone();
        }
        document
    }
}

/// An Envoy that istiod is to program, and its pod.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub service_account: String,
    /// Where it fetches its identity: the socket of a SPIFFE server or SPIRE agent.
    pub sds_socket: PathBuf,
    /// More of the node's metadata; wins over what the lab sets.
    pub metadata: Map<String, Value>,
}

impl Proxy {
    pub fn new(namespace: &str, name: &str, sds_socket: impl Into<PathBuf>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            service_account: "default".to_owned(),
            sds_socket: sds_socket.into(),
            metadata: Map::new(),
        }
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    fn pod(&self, host: &Host) -> Pod {
        let pod = Pod::new(&self.namespace, &self.name, host.address).service_account(&self.service_account);
        Pod { labels: self.labels.clone(), ..pod }
    }

    /// With the label that the injector gives to what it puts a sidecar into: others may speak mTLS with it.
    fn injected(&self) -> Self {
        self.clone().label("security.istio.io/tlsMode", "istio")
    }

    /// `kind` is `router` or `sidecar`.
    fn bootstrap(&self, kind: &str, host: &Host, cluster: &Cluster) -> Value {
        let (namespace, name, address) = (&self.namespace, &self.name, host.address);
        let mut metadata = json!({
            "NAME": name,
            "NAMESPACE": namespace,
            "LABELS": self.labels,
            "SERVICE_ACCOUNT": self.service_account,
            "CLUSTER_ID": cluster.name(),
            "ISTIO_VERSION": ISTIO_VERSION,
            "INSTANCE_IPS": address.to_string(),
            "INTERCEPTION_MODE": "REDIRECT",
        });
        for (key, value) in &self.metadata {
            metadata[key] = value.clone();
        }
        let discovery = SocketAddr::from((cluster.host.address, DISCOVERY_PORT));
        json!({
            "node": {
                "id": format!("{kind}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
                "cluster": format!("{name}.{namespace}"),
                "metadata": metadata,
            },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
                },
                "cds_config": { "resource_api_version": "V3", "ads": {}, "initial_fetch_timeout": "0s" },
                "lds_config": { "resource_api_version": "V3", "ads": {}, "initial_fetch_timeout": "0s" },
            },
            "static_resources": { "clusters": [
                grpc_cluster("xds-grpc", &socket_address(discovery)),
                grpc_cluster("sds-grpc", &json!({ "pipe": { "path": self.sds_socket } })),
            ] },
            "admin": { "address": socket_address((address, ADMIN_PORT).into()) },
        })
    }
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

fn grpc_cluster(name: &str, address: &Value) -> Value {
    json!({
        "name": name,
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    })
}

/// A running proxy of a mesh.
pub struct IstioProxy {
    pub envoy: Envoy,
    proxy: Proxy,
    /// Its pod. In that of a sidecar, connections are redirected to the proxy.
    pub host: Host,
}

impl fmt::Debug for IstioProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.host)
    }
}

impl Cluster {
    /// Installs Istio's CRDs and starts istiod, in some five seconds.
    pub async fn with_istiod(mut self, mesh: &Mesh) -> Result<Self> {
        let istio = install("istio").await?;
        self.create_namespace(ISTIO_NAMESPACE).await?;
        self.apply_yaml(&std::fs::read_to_string(istio.join("crds.yaml"))?).await?;
        self.wait_until_established().await?;
        self.spawn_istiod(mesh).await?;
        self.wait_for_istiod().await?;
        Ok(self)
    }

    /// Ends istiod. Its Envoys keep what they have.
    pub async fn stop_istiod(&mut self) -> Result<()> {
        match self.istiod.take() {
            Some(istiod) => istiod.terminate().await,
            None => Ok(()),
        }
    }

    /// Waits until the API server serves every kind of its CRDs: a client that asks earlier is told that there is none.
    pub async fn wait_until_established(&self) -> Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client()?);
        let start = Instant::now();
        loop {
            let waiting: Vec<String> = definitions
                .list(&ListParams::default())
                .await?
                .into_iter()
                .filter(|definition| {
                    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
                    !conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
                })
                .filter_map(|definition| definition.metadata.name)
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < START_DEADLINE, "not established after {START_DEADLINE:?}: {waiting:?}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn spawn_istiod(&mut self, mesh: &Mesh) -> Result<()> {
        let folder = self.host.folder.clone();
        let mesh_config = folder.join("mesh.yaml");
        std::fs::write(&mesh_config, format!("{:#}\n", mesh.document()))?;
        let mut command = self.host.command(install("istio").await?.join("pilot-discovery"));
        command.arg("discovery");
        command.arg("--kubeconfig").arg(self.kubeconfig()).arg("--meshConfig").arg(&mesh_config);
        command.arg(format!("--grpcAddr={}:{DISCOVERY_PORT}", self.host.address)).arg(format!("--clusterID={}", self.name()));
        command.envs([
            ("POD_NAMESPACE", ISTIO_NAMESPACE),
            ("POD_NAME", "istiod"),
            ("CLUSTER_ID", self.name()),
            ("REVISION", "default"),
            ("PILOT_CERT_PROVIDER", "istiod"),
            // Trust domains are what the SPIFFE servers say; istiod has no list of its own.
            ("PILOT_SKIP_VALIDATE_TRUST_DOMAIN", if mesh.validates_trust_domains { "false" } else { "true" }),
            // These use extensions that Istio's own Envoy has, and the stock one has not.
            ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
            ("PILOT_ENABLE_ALPN_FILTER", "false"),
            // Nobody serves webhooks here.
            ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
            ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
        ]);
        self.istiod = Some(Process::start("istiod", command, folder.join("istiod.log"))?);
        Ok(())
    }

    async fn wait_for_istiod(&mut self) -> Result<()> {
        let start = Instant::now();
        // It opens this port when it has read everything.
        while TcpStream::connect((self.host.address, DISCOVERY_PORT)).await.is_err() {
            let istiod = self.istiod.as_mut().context("istiod was just started")?;
            if let Some(status) = istiod.ended()? {
                bail!("istiod ended with {status}\n{}", self.log());
            }
            ensure!(start.elapsed() < START_DEADLINE, "istiod is not ready after {START_DEADLINE:?}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts an Envoy as a gateway of the mesh, in a pod of its own.
    pub async fn istio_gateway(&self, proxy: &Proxy) -> Result<IstioProxy> {
        let host = self.host.network().host(&proxy.name)?;
        self.start_proxy("router", proxy, host, &[]).await
    }

    /// Gives a gateway its Service of type LoadBalancer, of the same name, with these ports: name and number. In place of a
    /// load balancer's address it shows the gateway's own.
    pub async fn expose_gateway(&self, gateway: &IstioProxy, ports: &[(&str, u16)]) -> Result<()> {
        let Proxy { namespace, name, labels, .. } = &gateway.proxy;
        let ports: Vec<_> = ports.iter().map(|(name, port)| json!({ "name": name, "port": port, "targetPort": port })).collect();
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": namespace, "name": name, "labels": labels },
            "spec": { "type": "LoadBalancer", "selector": labels, "ports": ports },
        }))
        .await?;
        self.set_load_balancer(namespace, name, &[json!({ "ip": gateway.host.address })]).await
    }

    /// Starts an Envoy as the sidecar of a pod: every TCP connection from and to the pod is redirected to it.
    pub async fn istio_sidecar(&self, proxy: &Proxy) -> Result<IstioProxy> {
        let host = self.host.network().host(&proxy.name)?;
        host.nft(&REDIRECTS.replace("PROXY_GROUP", &PROXY_GROUP.to_string()))?;
        // The group tells the redirects whose connections to leave alone, and leaves the user as the SPIFFE server knows it.
        self.start_proxy("sidecar", &proxy.injected(), host, &["setpriv", "--regid", &PROXY_GROUP.to_string(), "--clear-groups"]).await
    }

    /// Where nothing serves SDS yet, the Envoy is not waited for: it cannot be ready before.
    async fn start_proxy(&self, kind: &str, proxy: &Proxy, host: Host, prefix: &[&str]) -> Result<IstioProxy> {
        self.create_namespace(&proxy.namespace).await?;
        self.run_pod(&proxy.pod(&host)).await?;
        let bootstrap = proxy.bootstrap(kind, &host, self).to_string();
        let name = format!("{}.{} of {}", proxy.name, proxy.namespace, self.name());
        let parent: &[&str] = if host.network().stays() { &PARENT } else { &[] };
        let wrapper: Vec<&str> = [&host.wrapper()[..], prefix, parent].concat();
        let folder = tempfile::Builder::new().prefix("envoy-").tempdir_in(&host.folder)?;
        let mut envoy = Envoy::spawn_in(folder, &name, &bootstrap, &wrapper)?;
        if proxy.sds_socket.exists() {
            envoy = envoy.live().await?;
        }
        Ok(IstioProxy { envoy, proxy: proxy.clone(), host })
    }
}

/// Those of istio-init: what leaves the pod goes to 15001, what enters it to 15006.
const REDIRECTS: &str = "\
add table inet istio
add chain inet istio output { type nat hook output priority -100 ; }
add rule inet istio output meta skgid PROXY_GROUP accept
add rule inet istio output oifname lo accept
add rule inet istio output meta l4proto tcp redirect to :15001
add chain inet istio prerouting { type nat hook prerouting priority -100 ; }
add rule inet istio prerouting tcp dport { 15000, 15020, 15021, 15090 } accept
add rule inet istio prerouting iifname != lo meta l4proto tcp redirect to :15006
";
