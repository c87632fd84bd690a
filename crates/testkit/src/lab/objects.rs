//! What a cluster with nodes would write itself: namespaces, pods that run, endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::Cluster;
use super::api::apply;

/// A pod as the API knows it. Whether a process is behind its address is another matter.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub service_account: String,
    pub ip: IpAddr,
    pub ready: bool,
}

impl Pod {
    /// A ready pod without labels, of the service account `default`.
    pub fn new(namespace: &str, name: &str, ip: impl Into<IpAddr>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            service_account: "default".to_owned(),
            ip: ip.into(),
            ready: true,
        }
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn service_account(mut self, name: &str) -> Self {
        self.service_account = name.to_owned();
        self
    }

    pub fn not_ready(mut self) -> Self {
        self.ready = false;
        self
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "namespace": self.namespace, "name": self.name, "labels": self.labels },
            "spec": { "serviceAccountName": self.service_account, "containers": [{ "name": "application", "image": "none" }] },
        })
    }

    fn status(&self) -> Value {
        let ready = if self.ready { "True" } else { "False" };
        let conditions = [("PodScheduled", "True"), ("Initialized", "True"), ("ContainersReady", ready), ("Ready", ready)]
            .map(|(condition, status)| json!({ "type": condition, "status": status }));
        let ips = [json!({ "ip": self.ip })];
        // The one container that the object has; kubectl counts the ready ones.
        let container = json!({ "name": "application", "image": "none", "imageID": "none", "ready": self.ready, "restartCount": 0 });
        json!({ "status": {
            "phase": "Running",
            "podIP": self.ip,
            "podIPs": ips,
            "conditions": conditions,
            "containerStatuses": [container],
        } })
    }
}

impl Cluster {
    /// Creates a namespace; one that exists stays.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        self.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).await
    }

    /// Creates the pod and says, as its kubelet would, that it runs. A pod that exists gets this address and readiness.
    pub async fn run_pod(&self, pod: &Pod) -> Result<()> {
        run_pod(&self.client()?, pod).await
    }

    /// Deletes a pod at once, as where its process has ended already.
    pub async fn delete_pod(&self, namespace: &str, name: &str) -> Result<()> {
        let pods: Api<v1::Pod> = Api::namespaced(self.client()?, namespace);
        pods.delete(name, &kube::api::DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// Writes the endpoints of a Service's port, as the control plane would from its pods.
    pub async fn endpoint_slice(&self, namespace: &str, service: &str, port: (&str, u16), addresses: &[IpAddr]) -> Result<()> {
        endpoint_slice(&self.client()?, namespace, service, port, addresses).await
    }

    /// Says where a Service of type LoadBalancer is reached, as a cloud would: `{"ip": ...}` or `{"hostname": ...}` for each.
    pub async fn set_load_balancer(&self, namespace: &str, service: &str, ingress: &[Value]) -> Result<()> {
        set_load_balancer(&self.client()?, namespace, service, ingress).await
    }
}

pub(super) async fn run_pod(client: &Client, pod: &Pod) -> Result<()> {
    apply(client, &pod.object()).await?;
    let pods: Api<v1::Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let patched = pods.patch_status(&pod.name, &PatchParams::default(), &Patch::Merge(pod.status())).await;
    patched.map(drop).with_context(|| format!("cannot say that the pod {}/{} runs", pod.namespace, pod.name))
}

pub(super) async fn endpoint_slice(client: &Client, namespace: &str, service: &str, port: (&str, u16), addresses: &[IpAddr]) -> Result<()> {
    let (port_name, number) = port;
    let family = if addresses.iter().any(IpAddr::is_ipv6) { "IPv6" } else { "IPv4" };
    let endpoints: Vec<_> = addresses.iter().map(|ip| json!({ "addresses": [ip], "conditions": { "ready": true } })).collect();
    apply(
        client,
        &json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": namespace,
                "name": format!("{service}-{port_name}"),
                "labels": { "kubernetes.io/service-name": service },
            },
            "addressType": family,
            "ports": [{ "name": port_name, "port": number, "protocol": "TCP" }],
            "endpoints": endpoints,
        }),
    )
    .await
}

pub(super) async fn set_load_balancer(client: &Client, namespace: &str, service: &str, ingress: &[Value]) -> Result<()> {
    let services: Api<v1::Service> = Api::namespaced(client.clone(), namespace);
    let status = json!({ "status": { "loadBalancer": { "ingress": ingress } } });
    services.patch_status(service, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}
