//! One cluster with everything that belongs to it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use cofide_core::{Hostname, Profile};
use cofide_dns::{Upstream, ZoneHandle};
use cofide_k8s_api::{FederatedServiceObject, istio};
use k8s_openapi::api::core::v1;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::chart::{self, GATEWAY, Installed, NAMESPACE};
use super::{Agent, program};
use crate::envoy::Envoy;
use crate::lab::{Cluster, Host, ISTIO_NAMESPACE, IstioProxy, Lab, Mesh, Pod, Proxy};
use crate::plane::Plane;

/// The gateways of a cluster, with where clients reach them.
#[expect(clippy::large_enum_variant, reason = "there is one for each of four sites")]
pub enum Gateways {
    /// Istio's.
    Mesh { ingress: IstioProxy, east_west: IstioProxy },
    /// An Envoy of the agent.
    Own { envoy: Envoy, host: Host },
}

/// A cluster, its agent and its gateways.
pub struct Site {
    pub zone: usize,
    pub workload_api: PathBuf,
    /// Where Istio's own certificates come from. The gateways have these: what passes through needs no others.
    pub istio_sds: PathBuf,
    pub gateways: Option<Gateways>,
    agent: Agent,
    chart: Installed,
    profile: Profile,
    names: Option<MeshNames>,
    pub cluster: Cluster,
}

/// What Istio's agent in a pod would answer: addresses of the mesh for names of the mesh.
struct MeshNames {
    zone: ZoneHandle,
    known: Mutex<BTreeMap<Hostname, Ipv4Addr>>,
    address: SocketAddr,
    _stop: DropGuard,
}

impl MeshNames {
    async fn serve(address: Ipv4Addr) -> Result<Self> {
        let (zone, stop) = (ZoneHandle::new(), CancellationToken::new());
        let bound = cofide_dns::serve(&[(address, 0).into()], zone.clone(), Upstream::Nobody, stop.clone()).await?;
        let address = *bound.addresses.first().context("it listens")?;
        Ok(Self { zone, known: Mutex::default(), address, _stop: stop.drop_guard() })
    }
}

impl Site {
    /// Starts a cluster and its agent, for a trust zone of the plane whose SPIFFE server runs.
    pub async fn start(lab: &Lab, plane: &Plane, zone: usize, name: &str, profile: Profile, istio_sds: &Path) -> Result<Self> {
        let of = &plane.zones[zone];
        let mut cluster = lab.cluster(name).await?.with_controllers(&["garbage-collector-controller"]).await?;
        let mut names = None;
        if profile == Profile::Istio {
            cluster = cluster.with_istiod(&Mesh::new(of.trust_domain.as_str())).await?;
            names = Some(MeshNames::serve(lab.address()).await?);
        }
        let bootstrap = plane.bootstrap(zone, plane.join_token(zone).await?)?;
        let chart = chart::install_into(&cluster, profile, &bootstrap).await?;
        let mut agent = Agent::create(lab, &cluster, of, &chart, "agent-0").await?;
        agent.start()?;
        Ok(Self {
            zone,
            workload_api: of.workload_api_socket(),
            istio_sds: istio_sds.to_owned(),
            gateways: None,
            agent,
            chart,
            profile,
            names,
            cluster,
        })
    }

    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    pub fn agent_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// Another agent of the cluster; it runs.
    pub async fn second_agent(&self, lab: &Lab, plane: &Plane, pod: &str) -> Result<Agent> {
        let mut agent = Agent::create(lab, &self.cluster, &plane.zones[self.zone], &self.chart, pod).await?;
        agent.start()?;
        Ok(agent)
    }

    /// An agent that has to join anew: neither on its disk nor in the cluster is anything remembered. It does not run yet.
    pub async fn agent_without_memory(&self, lab: &Lab, plane: &Plane, pod: &str) -> Result<Agent> {
        let maps: Api<v1::ConfigMap> = Api::namespaced(self.cluster.client()?, chart::NAMESPACE);
        maps.patch("cofide-agent-state", &PatchParams::default(), &Patch::Merge(json!({ "data": null }))).await?;
        let bootstrap = plane.bootstrap(self.zone, plane.join_token(self.zone).await?)?;
        let agent = Agent::create(lab, &self.cluster, &plane.zones[self.zone], &self.chart, pod).await?;
        agent.replace_bootstrap(&bootstrap)?;
        Ok(agent)
    }

    /// Starts the gateways, and gives them their Services.
    pub async fn open_gateways(&mut self, lab: &Lab) -> Result<()> {
        self.gateways = Some(match self.profile {
            Profile::Istio => {
                let (ingress, east_west) = tokio::try_join!(
                    self.mesh_gateway("istio-ingressgateway", ("https", 443)),
                    self.mesh_gateway("istio-eastwestgateway", ("tls", 15443)),
                )?;
                Gateways::Mesh { ingress, east_west }
            }
            _ => self.own_gateway(lab).await?,
        });
        Ok(())
    }

    /// A gateway of the mesh, with a Service of this name.
    async fn mesh_gateway(&self, name: &str, port: (&str, u16)) -> Result<IstioProxy> {
        let gateway = self.gateway_pod(name, name).await?;
        self.cluster.expose_gateway(&gateway, &[port]).await?;
        Ok(gateway)
    }

    /// One more pod behind the Service of a gateway.
    pub async fn gateway_pod(&self, service: &str, pod: &str) -> Result<IstioProxy> {
        let proxy = Proxy::new(ISTIO_NAMESPACE, pod, &self.istio_sds).label("istio", service.trim_start_matches("istio-"));
        self.cluster.istio_gateway(&proxy).await
    }

    async fn own_gateway(&self, lab: &Lab) -> Result<Gateways> {
        let host = lab.host("gateway")?;
        // In the place of the cluster's DNS, and of the CSI driver.
        let bootstrap = self.chart.gateway_bootstrap.as_deref().context("the chart has no gateway")?;
        let bootstrap = bootstrap
            .replace("cofide-agent-xds.cofide.svc", &self.agent.host.address.to_string())
            .replace("/spiffe-workload-api/spire-agent.sock", &self.workload_api.display().to_string());
        let mut bootstrap: Value = serde_saphyr::from_str(&bootstrap)?;
        let admin = json!({ "address": host.address, "port_value": 15000 });
        bootstrap["admin"] = json!({ "address": { "socket_address": admin } });
        // As the Service does.
        host.nft(
            "add table inet services\n\
             add chain inet services prerouting { type nat hook prerouting priority -100 ; }\n\
             add rule inet services prerouting tcp dport 443 redirect to :15443\n",
        )?;
        let envoy = Envoy::start_with("gateway", &bootstrap.to_string(), &host.wrapper()).await?;
        self.cluster.set_load_balancer(NAMESPACE, GATEWAY, &[json!({ "ip": host.address })]).await?;
        Ok(Gateways::Own { envoy, host })
    }

    /// Where clients without a mesh enter.
    pub fn ingress(&self) -> SocketAddr {
        let address = match self.gateways.as_ref().expect("the gateways are open") {
            Gateways::Mesh { ingress, .. } => ingress.host.address,
            Gateways::Own { host, .. } => host.address,
        };
        (address, 443).into()
    }

    /// Istio's gateways: ingress and east-west.
    pub fn mesh_gateways(&self) -> (&IstioProxy, &IstioProxy) {
        match self.gateways.as_ref() {
            Some(Gateways::Mesh { ingress, east_west }) => (ingress, east_west),
            _ => panic!("{:?} has no gateways of a mesh", self.cluster),
        }
    }

    /// The resolver of pods in the mesh.
    pub fn mesh_names(&self) -> Option<SocketAddr> {
        self.names.as_ref().map(|names| names.address)
    }

    /// Reads from the ServiceEntries which addresses istiod gave to their names.
    pub async fn learn_mesh_names(&self) -> Result<()> {
        let names = self.names.as_ref().context("no mesh")?;
        let mut addresses = BTreeMap::new();
        for entry in self.list(&ApiResource::erase::<istio::ServiceEntry>(&())).await? {
            let host = entry.data["spec"]["hosts"][0].as_str().and_then(|host| host.parse::<Hostname>().ok());
            let given = entry.data["status"]["addresses"].as_array().into_iter().flatten();
            let address = given.filter_map(|given| given["value"].as_str()?.parse::<Ipv4Addr>().ok()).next();
            addresses.extend(host.zip(address));
        }
        *names.known.lock().unwrap_or_else(PoisonError::into_inner) = addresses.clone();
        names.zone.set(addresses);
        Ok(())
    }

    /// Where a pod of the mesh connects to for a name.
    pub async fn mesh_address(&self, hostname: &str, port: u16) -> Result<SocketAddr> {
        self.learn_mesh_names().await?;
        let known = &self.names.as_ref().context("no mesh")?.known;
        let known = known.lock().unwrap_or_else(PoisonError::into_inner).get(&hostname.parse::<Hostname>()?).copied();
        Ok((known.with_context(|| format!("the mesh does not know {hostname}"))?, port).into())
    }

    /// A pod that runs at this address, with its Service; both are called `app`.
    pub async fn publish(&self, namespace: &str, app: &str, address: Ipv4Addr, port: u16) -> Result<()> {
        self.cluster.create_namespace(namespace).await?;
        self.cluster.run_pod(&Pod::new(namespace, app, address).label("app", app)).await?;
        self.serve_behind(namespace, app, address, port).await
    }

    /// A Service before pods with the label `app`, of which one is ready.
    pub async fn serve_behind(&self, namespace: &str, app: &str, address: Ipv4Addr, port: u16) -> Result<()> {
        self.cluster
            .apply(&json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "namespace": namespace, "name": app },
                "spec": { "selector": { "app": app }, "ports": [{ "name": "tls", "port": port }] },
            }))
            .await?;
        self.cluster.endpoint_slice(namespace, app, ("tls", port), &[address.into()]).await
    }

    /// All objects of a kind, in all namespaces.
    pub async fn list(&self, kind: &ApiResource) -> Result<ObjectList<DynamicObject>> {
        Ok(Api::<DynamicObject>::all_with(self.cluster.client()?, kind).list(&ListParams::default()).await?)
    }

    /// Lets processes with this program speak in the zone as `path`, to these zones.
    pub async fn bind(&self, plane: &Plane, path: &str, program_name: &str, federates_with: &[usize]) -> Result<()> {
        let path_of_program = if program_name == "envoy" { crate::envoy::binary()? } else { program(program_name)? };
        plane.bind_program(self.zone, path, &path_of_program, federates_with).await?;
        Ok(())
    }

    /// Whether a condition of a FederatedService is as said, for its present generation; gives its message.
    pub async fn has_condition(&self, namespace: &str, name: &str, kind: &str, (status, reason): (&str, &str)) -> Result<String> {
        let object =
            self.cluster.get("registry.cofide.io/v1alpha1", "FederatedService", namespace, name).await?.context("it does not exist")?;
        let said = &object.data["status"];
        let condition =
            said["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind).context("no condition")?;
        ensure!(said["observedGeneration"].as_i64() == object.metadata.generation, "the status is about an earlier generation: {said}");
        ensure!(condition["status"] == status && condition["reason"] == reason, "{condition:#}");
        Ok(condition["message"].as_str().unwrap_or_default().to_owned())
    }

    pub async fn gateway_entries(&self, namespace: &str, name: &str) -> Result<Vec<Value>> {
        Ok(self.status(namespace, name).await?["gatewayEntries"].as_array().cloned().unwrap_or_default())
    }

    pub async fn conditions(&self, namespace: &str, name: &str) -> Result<Value> {
        Ok(self.status(namespace, name).await?["conditions"].clone())
    }

    async fn status(&self, namespace: &str, name: &str) -> Result<Value> {
        let object = self.cluster.get("registry.cofide.io/v1alpha1", "FederatedService", namespace, name).await?;
        Ok(object.context("it does not exist")?.data["status"].clone())
    }

    /// The objects that the agent has written for a hostname, as `<kind> <namespace>/<name>`.
    pub async fn objects_for(&self, hostname: &str) -> Result<BTreeMap<String, DynamicObject>> {
        let mut found = BTreeMap::new();
        for kind in istio::kinds() {
            for object in self.list(&kind).await? {
                if object.annotations().get("registry.cofide.io/hostname").is_some_and(|name| name == hostname) {
                    found.insert(format!("{} {}/{}", kind.kind, object.namespace().unwrap_or_default(), object.name_any()), object);
                }
            }
        }
        Ok(found)
    }

    /// What helps to see why something failed.
    pub async fn dump(&self) -> String {
        let mut text = format!("=== {:?}\n", self.cluster);
        for kind in [ApiResource::erase::<FederatedServiceObject>(&())].into_iter().chain(istio::kinds()) {
            for object in self.list(&kind).await.into_iter().flatten() {
                let (namespace, name) = (object.metadata.namespace.unwrap_or_default(), object.metadata.name.unwrap_or_default());
                text.push_str(&format!("{} {namespace}/{name} {}\n", kind.kind, object.data));
            }
        }
        if let Ok(client) = self.cluster.client() {
            let events = Api::<v1::Event>::all(client).list(&ListParams::default()).await;
            for event in events.into_iter().flatten() {
                let of = event.involved_object;
                text.push_str(&format!(
                    "Event {}/{} {} {}\n",
                    of.namespace.unwrap_or_default(),
                    of.name.unwrap_or_default(),
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default()
                ));
            }
        }
        if let Some(Gateways::Own { envoy, .. }) = &self.gateways {
            text.push_str(&envoy.dump().await);
        }
        let log = self.agent.log();
        let lines: Vec<_> = log.lines().collect();
        text.push_str(&format!("--- agent\n{}\n", lines[lines.len().saturating_sub(40)..].join("\n")));
        text
    }
}
