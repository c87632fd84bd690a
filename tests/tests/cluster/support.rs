//! A cluster with an agent, and what surrounds them.

use std::path::PathBuf;
use std::time::Duration;

use cofide_agent::config::Config;
use cofide_k8s_api::federated_service::crd;
use cofide_k8s_api::{Condition, ConditionStatus, FederatedServiceObject, FederatedServiceStatus, testdata};
use cofide_testkit::lab::{Cluster, Lab, install};
use cofide_testkit::plane::{Agent, Plane};
use cofide_testkit::wait::{eventually, within, works};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// The zone whose agent works on the cluster.
const SERVER: usize = 0;

/// A cluster whose agents are those of the trust zone `a`, and a trust zone `b` that trusts it and is trusted.
pub(crate) struct World {
    // Ends first, so that agents do not complain of what is gone.
    pub(crate) agents: Vec<Option<Agent>>,
    pub(crate) plane: Plane,
    /// By which `a` trusts `b`.
    federation: String,
    pub(crate) cluster: Cluster,
    pub(crate) lab: Lab,
    logs: Vec<PathBuf>,
}

/// As the chart makes them.
const AGENT_NAMESPACE: &str = "cofide";

impl World {
    /// Everything but an agent, and with this definition of FederatedService, if any.
    pub(crate) async fn without_agent(definition: Option<&str>) -> Self {
        let lab = Lab::start().unwrap();
        let (cluster, plane) = tokio::join!(lab.cluster("one"), Plane::start());
        let (cluster, mut plane) = (cluster.unwrap(), plane.unwrap());
        for namespace in ["demo", "other", "istio-system", AGENT_NAMESPACE] {
            cluster.create_namespace(namespace).await.unwrap();
        }
        // What Istio makes of its objects is another matter; that there are such objects is not.
        let istio = install("istio").await.unwrap().join("crds.yaml");
        cluster.apply_yaml(&std::fs::read_to_string(istio).unwrap()).await.unwrap();
        let metadata = json!({ "namespace": AGENT_NAMESPACE, "name": "cofide-agent-state" });
        cluster.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })).await.unwrap();
        if let Some(definition) = definition {
            define(&cluster, definition).await;
        }
        assert_eq!(plane.create_zone("a").await.unwrap(), SERVER);
        let token = plane.join_token(SERVER).await.unwrap();
        plane.write_bootstrap(SERVER, token).unwrap();
        // As Istio's proxies ask for them.
        plane.zones[SERVER].sds = json!({ "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" });
        plane.zones[SERVER].start_trust_zone_server().await.unwrap();
        let other = plane.add_zone("b").await.unwrap();
        plane.federate(other, SERVER).await.unwrap();
        let federation = plane.federate(SERVER, other).await.unwrap();
        Self { agents: Vec::new(), plane, federation, cluster, lab, logs: Vec::new() }
    }

    /// With the present definition, gateways, and one agent.
    pub(crate) async fn start() -> Self {
        let mut world = Self::without_agent(Some(&crd::yaml())).await;
        world.both_gateways().await;
        world.start_agent(|_| {}).await;
        world
    }

    /// One more agent of the cluster, with a disk of its own; gives its number.
    pub(crate) async fn start_agent(&mut self, change: impl FnOnce(&mut Config)) -> usize {
        let number = self.agents.len();
        let zone = &self.plane.zones[SERVER];
        let mut config = zone.agent_config();
        config.profile = "istio".to_owned();
        config.kubeconfig = Some(self.cluster.kubeconfig().to_owned());
        config.pod_namespace = Some(AGENT_NAMESPACE.to_owned());
        config.pod_name = Some(format!("agent-{number}"));
        config.data_dir = zone.folder.join(format!("agent-{number}"));
        config.xds_address.set_port(0);
        config.dns_address.set_port(0);
        change(&mut config);
        let log = self.lab.folder().join(format!("agent-{number}.log"));
        self.agents.push(Some(Agent::start(config, &log).await.unwrap()));
        self.logs.push(log);
        number
    }

    /// From now on `a` does not trust `b`.
    pub(crate) async fn unfederate(&self) {
        self.plane.unfederate(self.federation.clone()).await.unwrap();
    }

    /// Whom the SPIFFE server of `a` trusts.
    pub(crate) async fn trusted(&self) -> Vec<String> {
        let state = self.plane.zones[SERVER].spire().read().await.unwrap();
        state.bundles.keys().map(ToString::to_string).collect()
    }

    pub(crate) fn take_agent(&mut self, number: usize) -> Agent {
        self.agents[number].take().expect("it runs")
    }

    pub(crate) fn agent_log(&self, number: usize) -> String {
        std::fs::read_to_string(&self.logs[number]).unwrap_or_default()
    }

    /// Both of Istio's gateways behind load balancers.
    pub(crate) async fn both_gateways(&self) {
        self.gateway("istio-ingressgateway", "https", 443, &[json!({ "ip": "192.0.2.1" })]).await;
        self.gateway("istio-eastwestgateway", "tls", 15443, &[json!({ "ip": "192.0.2.2" })]).await;
    }

    pub(crate) async fn gateway(&self, name: &str, port_name: &str, port: u16, ingress: &[Value]) {
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": "istio-system", "name": name },
            "spec": {
                "type": "LoadBalancer",
                "selector": { "istio": name.trim_start_matches("istio-") },
                "ports": [{ "name": "status-port", "port": 15021 }, { "name": port_name, "port": port }],
            },
        });
        self.cluster.apply(&service).await.unwrap();
        self.cluster.set_load_balancer("istio-system", name, ingress).await.unwrap();
    }

    /// The Service of the document's example, with one ready endpoint.
    pub(crate) async fn ping_pong(&self) {
        self.service("ping-pong-server", &json!([{ "name": "tls", "port": 8443 }])).await;
        let addresses = ["10.1.2.3".parse().unwrap()];
        self.cluster.endpoint_slice("demo", "ping-pong-server", ("tls", 8443), &addresses).await.unwrap();
    }

    /// A Service of the namespace `demo` that selects `app: <name>`.
    pub(crate) async fn service(&self, name: &str, ports: &Value) {
        let metadata = json!({ "namespace": "demo", "name": name });
        let spec = json!({ "selector": { "app": name }, "ports": ports });
        self.cluster.apply(&json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })).await.unwrap();
    }

    pub(crate) async fn apply(&self, object: &Value) {
        self.cluster.apply(object).await.unwrap();
    }

    pub(crate) async fn object(&self, name: &str) -> anyhow::Result<FederatedServiceObject> {
        let services: Api<FederatedServiceObject> = Api::namespaced(self.cluster.client()?, "demo");
        Ok(services.get(name).await?)
    }

    pub(crate) async fn status(&self, name: &str) -> FederatedServiceStatus {
        self.object(name).await.map(|object| object.written_status()).unwrap_or_default()
    }

    /// Waits until a condition has this reason.
    pub(crate) async fn condition(&self, name: &str, kind: &str, reason: &str) -> Condition {
        let find = |status: &FederatedServiceStatus| status.conditions.iter().find(|condition| condition.kind == kind).cloned();
        let what = format!("{name} is {kind} or not with reason {reason}");
        let says = |found: &FederatedServiceStatus| find(found).is_some_and(|condition| condition.reason == reason);
        find(&eventually(&what, || self.status(name), says).await).unwrap()
    }

    pub(crate) async fn ready(&self, name: &str) -> Condition {
        let condition = self.condition(name, "Ready", "Exported").await;
        assert_eq!(condition.status, ConditionStatus::True);
        condition
    }

    /// The hostnames that Connect knows of the cluster.
    pub(crate) async fn registered(&self) -> Vec<String> {
        let services = self.plane.services().await.unwrap();
        let mut names: Vec<_> = services.into_iter().map(|service| format!("{}.{}", service.name, service.namespace)).collect();
        names.sort();
        names
    }

    /// Another one that comes after everything that was said before: once it is ready, so is what was said.
    pub(crate) async fn fence(&self, name: &str) {
        self.apply(&named(name)).await;
        self.ready(name).await;
    }

    /// A kubeconfig for the agent's service account, which may nothing yet.
    pub(crate) async fn agent_of_its_own_account(&self) -> PathBuf {
        let metadata = json!({ "namespace": AGENT_NAMESPACE, "name": "cofide-agent" });
        self.apply(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })).await;
        self.cluster.service_account_kubeconfig(AGENT_NAMESPACE, "cofide-agent").await.unwrap()
    }

    /// Lets an agent of the cluster join that has nothing but its bootstrap file.
    pub(crate) async fn a_new_join_token(&self) {
        let token = self.plane.join_token(SERVER).await.unwrap();
        self.plane.write_bootstrap(SERVER, token).unwrap();
    }

    /// Who holds the Lease, by the name of its pod.
    pub(crate) async fn leader(&self) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.cluster.client().unwrap(), AGENT_NAMESPACE);
        let holder = leases.get_opt("cofide-agent").await.ok()??.spec?.holder_identity?;
        Some(holder.split_once('_')?.0.to_owned())
    }

    pub(crate) async fn led_by(&self, number: usize, patience: Duration) {
        let wanted = Some(format!("agent-{number}"));
        within(patience, &format!("agent {number} leads"), || self.leader(), |leader| *leader == wanted).await;
    }

    pub(crate) async fn patch(&self, name: &str, patch: &Value) {
        let services: Api<FederatedServiceObject> = Api::namespaced(self.cluster.client().unwrap(), "demo");
        services.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn version(&self, name: &str) -> String {
        self.object(name).await.unwrap().resource_version().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in &self.logs {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                eprintln!("=== agent\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            }
        }
    }
}

/// Installs a definition, and waits until it is served.
pub(crate) async fn define(cluster: &Cluster, definition: &str) {
    cluster.apply_yaml(definition).await.unwrap();
    let services: Api<FederatedServiceObject> = Api::all(cluster.client().unwrap());
    works("FederatedServices are served", async || Ok(services.list(&Default::default()).await?)).await;
}

/// The document's example under another name, for the trust domain that is there.
pub(crate) fn federated_service(name: &str) -> Value {
    let mut object = testdata::federated_service();
    object["metadata"] = json!({ "namespace": "demo", "name": name });
    object["spec"]["exportedTrustDomains"] = json!(["b.test"]);
    object["spec"].as_object_mut().unwrap().remove("gateways");
    object["spec"].as_object_mut().unwrap().remove("spiffeIDPaths");
    object
}

/// The same under a hostname of its own.
pub(crate) fn named(name: &str) -> Value {
    let mut object = federated_service(name);
    object["spec"]["name"] = json!(name);
    object
}

/// Lets the agent's service account do everything.
pub(crate) const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: cofide-agent
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: cluster-admin
subjects:
  - kind: ServiceAccount
    namespace: cofide
    name: cofide-agent
";
