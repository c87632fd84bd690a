//! A cluster whose SPIRE server is driven by objects, and the agent that writes them.

use std::path::PathBuf;

use cofide_agent::config::Config;
use cofide_agent::spire::{Outcome, SpireAccess};
use cofide_api::connect::ap_binding_service::CreateApBindingRequest;
use cofide_api::connect::ap_binding_service::ap_binding_service_client::ApBindingServiceClient;
use cofide_api::connect::attestation_policy_service::CreateAttestationPolicyRequest;
use cofide_api::connect::attestation_policy_service::attestation_policy_service_client::AttestationPolicyServiceClient;
use cofide_api::connect::trust_zone_service::UpdateTrustZoneRequest;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_api::types::attestation_policy::attestation_policy::Policy;
use cofide_api::types::{ap_binding, attestation_policy, trust_zone};
use cofide_core::TrustDomain;
use cofide_k8s_api::federated_service::crd;
use cofide_k8s_api::spire;
use cofide_testkit::lab::{Cluster, Lab, Process, SpireControllerManager};
use cofide_testkit::plane::{Agent, Plane};
use cofide_testkit::spire::{Spire, SpireOptions};
use cofide_testkit::wait::eventually;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// The zone whose agent works on the cluster, and the one that it may trust.
pub(crate) const OWN: usize = 0;
pub(crate) const OTHER: usize = 1;
const NODE: &str = "node-one";

pub(crate) struct World {
    // Ends first, so that it does not complain of what is gone.
    agent: Option<Agent>,
    controller: Option<Process>,
    pub(crate) plane: Plane,
    /// Of the trust domain `a.test`. The agent has no socket of it, and its own identity from elsewhere.
    pub(crate) spire: Spire,
    pub(crate) cluster: Cluster,
    pub(crate) lab: Lab,
}

impl World {
    /// A cluster that has the kinds, without a controller and without an agent. Zone `b` has a bundle endpoint, where nobody
    /// listens: what its bundle is, Connect tells.
    pub(crate) async fn start() -> Self {
        let lab = Lab::start().unwrap();
        let (cluster, plane) = tokio::join!(lab.cluster("one"), Plane::start());
        let (cluster, mut plane) = (cluster.unwrap(), plane.unwrap());
        for namespace in ["cofide", "demo", "other"] {
            cluster.create_namespace(namespace).await.unwrap();
        }
        cluster.apply_yaml(&crd::yaml()).await.unwrap();
        cluster.install_spire_kinds().await.unwrap();
        let state = json!({ "namespace": "cofide", "name": "cofide-agent-state" });
        cluster.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": state })).await.unwrap();
        cluster.apply(&json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } })).await.unwrap();

        assert_eq!(plane.create_zone("a").await.unwrap(), OWN);
        let token = plane.join_token(OWN).await.unwrap();
        plane.write_bootstrap(OWN, token).unwrap();
        plane.zones[OWN].start_trust_zone_server().await.unwrap();
        assert_eq!(plane.add_zone("b").await.unwrap(), OTHER);

        let folder = lab.folder().join("spire");
        std::fs::create_dir_all(&folder).unwrap();
        let options = SpireOptions::default();
        let mut spire = Spire::new(&folder, &plane.zones[OWN].trust_domain, lab.address(), options).await.unwrap();
        spire.start_server().await.unwrap();
        let world = Self { agent: None, controller: None, plane, spire, cluster, lab };
        world.give_bundle_endpoint(OTHER).await;
        world
    }

    /// With the controller, and an agent that writes to it.
    pub(crate) async fn start_all() -> Self {
        let mut world = Self::start().await;
        world.start_controller("").await;
        world.start_agent(|_| {}).await;
        world
    }

    pub(crate) async fn start_controller(&mut self, class_name: &str) {
        let settings = SpireControllerManager {
            trust_domain: self.plane.zones[OWN].trust_domain.to_string(),
            server_socket: self.spire.admin_socket(),
            class_name: class_name.to_owned(),
            entry_id_prefix: String::new(),
        };
        self.controller = Some(self.cluster.start_spire_controller_manager(&settings).await.unwrap());
    }

    pub(crate) async fn start_agent(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.plane.zones[OWN].agent_config();
        config.profile = "kubernetes".to_owned();
        config.kubeconfig = Some(self.cluster.kubeconfig().to_owned());
        config.pod_namespace = Some("cofide".to_owned());
        config.spire = SpireAccess::Auto;
        config.spire_server_socket = PathBuf::from("/nonexistent/api.sock");
        change(&mut config);
        self.agent = Some(Agent::start(config, &self.lab.folder().join("agent.log")).await.unwrap());
    }

    pub(crate) async fn stop_agent(&mut self) {
        self.agent.take().unwrap().stop().await.unwrap();
    }

    /// Where a zone would publish its bundle; nobody listens there.
    pub(crate) async fn give_bundle_endpoint(&self, zone: usize) {
        let zone = &self.plane.zones[zone];
        let zone = trust_zone::TrustZone {
            id: Some(zone.id.to_string()),
            name: zone.name.clone(),
            trust_domain: zone.trust_domain.to_string(),
            bundle_endpoint_url: Some("https://127.0.0.1:9".to_owned()),
            bundle_endpoint_profile: Some(trust_zone::BundleEndpointProfile::HttpsSpiffe.into()),
            ..Default::default()
        };
        let request = UpdateTrustZoneRequest { trust_zone: Some(zone) };
        TrustZoneServiceClient::new(self.plane.admin().await.unwrap()).update_trust_zone(request).await.unwrap();
    }

    /// A policy for the pods with a label, bound in the cluster's zone. Gives the id of the binding.
    pub(crate) async fn bind_pods(&self, name: &str, app: &str, federates_with: &[usize]) -> String {
        let selector =
            attestation_policy::ApLabelSelector { match_labels: [("app".to_owned(), app.to_owned())].into(), ..Default::default() };
        let pods = attestation_policy::ApKubernetes { pod_selector: Some(selector), ..Default::default() };
        self.bind(name, Policy::Kubernetes(pods), federates_with).await
    }

    /// A policy for one entry, bound in the cluster's zone. The same path means the same entry.
    pub(crate) async fn bind_entry(&self, name: &str, path: &str) -> String {
        let entry = attestation_policy::ApStatic {
            spiffe_id_path: Some(path.to_owned()),
            parent_id_path: Some("spire/agent/one".to_owned()),
            selectors: vec![cofide_api::spire::types::Selector { r#type: "unix".into(), value: "uid:7".into() }],
            dns_names: vec!["gateway.a.test".to_owned()],
            ..Default::default()
        };
        self.bind(name, Policy::Static(entry), &[]).await
    }

    pub(crate) async fn bind(&self, name: &str, policy: Policy, federates_with: &[usize]) -> String {
        let channel = self.plane.admin().await.unwrap();
        let policy = attestation_policy::AttestationPolicy { name: name.to_owned(), policy: Some(policy), ..Default::default() };
        let request = CreateAttestationPolicyRequest { policy: Some(policy) };
        let created = AttestationPolicyServiceClient::new(channel.clone()).create_attestation_policy(request).await.unwrap().into_inner();
        let binding = ap_binding::ApBinding {
            trust_zone_id: Some(self.plane.zones[OWN].id.to_string()),
            policy_id: created.policy.unwrap().id,
            federations: self.plane.binding_federations(federates_with),
            ..Default::default()
        };
        let request = CreateApBindingRequest { binding: Some(binding) };
        let created = ApBindingServiceClient::new(channel).create_ap_binding(request).await.unwrap().into_inner();
        created.binding.unwrap().id.unwrap()
    }

    /// A pod of the service account `app` that runs on the cluster's one node, as far as the API knows.
    pub(crate) async fn run_pod(&self, namespace: &str, app: &str) {
        let metadata = json!({ "namespace": namespace, "name": app, "labels": { "app": app } });
        let containers = json!([{ "name": "application", "image": "none" }]);
        let spec = json!({ "serviceAccountName": app, "nodeName": NODE, "containers": containers });
        self.cluster.apply(&json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })).await.unwrap();
    }

    pub(crate) fn objects(&self, kind: &str) -> Api<DynamicObject> {
        let kind = spire::kinds().into_iter().find(|known| known.kind == kind).unwrap();
        Api::all_with(self.cluster.client().unwrap(), &kind)
    }

    /// The names of the objects of a kind.
    pub(crate) async fn names(&self, kind: &str) -> Vec<String> {
        let found = self.objects(kind).list(&ListParams::default()).await.unwrap();
        found.items.iter().map(ResourceExt::name_any).collect()
    }

    /// The specification of the only object of a kind, once it is as it is expected.
    pub(crate) async fn the_only(&self, what: &str, kind: &str, expected: impl Fn(&Value) -> bool) -> DynamicObject {
        let ask = || async {
            let mut found = self.objects(kind).list(&ListParams::default()).await.unwrap().items;
            if found.len() == 1 { found.pop() } else { None }
        };
        eventually(what, ask, |object| object.as_ref().is_some_and(|object| expected(&object.data["spec"]))).await.unwrap()
    }

    /// What the SPIRE server holds for this path: the domains that each of its entries federates with.
    pub(crate) async fn entries(&self, path: &str) -> Vec<Vec<String>> {
        let answer = self.spire.command(&["entry", "show"]).await.unwrap();
        let of_path = |entry: &&Value| entry["spiffe_id"]["path"] == path;
        let domains = |entry: &Value| {
            let list = entry["federates_with"].as_array().into_iter().flatten();
            list.map(|domain| domain.as_str().unwrap().to_owned()).collect()
        };
        answer["entries"].as_array().into_iter().flatten().filter(of_path).map(domains).collect()
    }

    /// What Connect has been told of something of the plan: whether it is in effect, and if not why not.
    pub(crate) async fn receipt(&self, type_url: &str, name: &str) -> Option<Result<(), String>> {
        self.plane.receipt(OWN, type_url, name).await.unwrap().map(|(said, _)| said)
    }

    /// What the agent says of its trust in a domain.
    pub(crate) async fn trust(&self, trust_domain: &str) -> Option<Outcome> {
        let report = self.agent.as_ref()?.world().spire.get();
        report.as_ref().as_ref()?.report.trust.get(&TrustDomain::new(trust_domain).unwrap()).cloned()
    }

    /// What the agent says of a binding.
    pub(crate) async fn outcome(&self, binding: &str) -> Option<Outcome> {
        let report = self.agent.as_ref()?.world().spire.get();
        report.as_ref().as_ref()?.report.registrations.get(&binding.parse().unwrap()).cloned()
    }
}
