//! One cluster with everything that belongs to it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result};
use cofide_agent::bootstrap::EnvoyBootstrap;
use cofide_agent::role::Role;
use cofide_core::{Hostname, Profile};
use cofide_dns::{Upstream, ZoneHandle};
use cofide_testkit::envoy::Envoy;
use cofide_testkit::lab::{Cluster, Host, ISTIO_NAMESPACE, IstioProxy, Lab, Mesh, Proxy};
use cofide_testkit::plane::Plane;
use k8s_openapi::api::core::v1;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList};
use kube::core::GroupVersionKind;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::chart::{self, Installed};
use super::{Agent, program};

/// The gateways of a cluster, with where clients reach them.
pub(crate) enum Gateways {
    /// Istio's.
    Mesh { ingress: IstioProxy, east_west: IstioProxy },
    /// An Envoy of the agent.
    Own { _envoy: Envoy, host: Host },
}

/// A cluster, its agent and its gateways.
pub(crate) struct Site {
    pub(crate) zone: usize,
    pub(crate) trust_domain: String,
    pub(crate) workload_api: PathBuf,
    pub(crate) gateways: Option<Gateways>,
    agent: Agent,
    chart: Installed,
    profile: Profile,
    names: Option<MeshNames>,
    pub(crate) cluster: Cluster,
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
    pub(crate) async fn start(lab: &Lab, plane: &Plane, zone: usize, name: &str, profile: Profile) -> Result<Self> {
        let of = &plane.zones[zone];
        let mut cluster = lab.cluster(name).await?.with_controllers(&["garbage-collector-controller"]).await?;
        let mut names = None;
        if profile == Profile::Istio {
            cluster = cluster.with_istiod(&Mesh::new(of.trust_domain.as_str())).await?;
            names = Some(MeshNames::serve(lab.address()).await?);
        }
        let bootstrap = plane.bootstrap(zone, plane.join_token(zone).await?)?;
        let chart = chart::install_into(&cluster, profile, &bootstrap).await?;
        let mut agent = Agent::create(lab, &cluster, of, profile, &chart, "agent-0").await?;
        agent.start()?;
        Ok(Self {
            zone,
            trust_domain: of.trust_domain.to_string(),
            workload_api: of.workload_api_socket(),
            gateways: None,
            agent,
            chart,
            profile,
            names,
            cluster,
        })
    }

    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(crate) fn agent_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// Another agent of the cluster; it runs.
    pub(crate) async fn second_agent(&self, lab: &Lab, plane: &Plane, pod: &str) -> Result<Agent> {
        let mut agent = Agent::create(lab, &self.cluster, &plane.zones[self.zone], self.profile, &self.chart, pod).await?;
        agent.start()?;
        Ok(agent)
    }

    /// Starts the gateways, and gives them their Services.
    pub(crate) async fn open_gateways(&mut self, lab: &Lab) -> Result<()> {
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

    /// One more gateway of the mesh, with a Service of this name.
    pub(crate) async fn mesh_gateway(&self, name: &str, port: (&str, u16)) -> Result<IstioProxy> {
        let proxy = Proxy::new(ISTIO_NAMESPACE, name, &self.workload_api).label("istio", name.trim_start_matches("istio-"));
        let gateway = self.cluster.istio_gateway(&proxy).await?;
        self.cluster.expose_gateway(&gateway, &[port]).await?;
        Ok(gateway)
    }

    async fn own_gateway(&self, lab: &Lab) -> Result<Gateways> {
        let host = lab.host("gateway")?;
        let bootstrap = EnvoyBootstrap {
            role: Role::Gateway,
            node_id: None,
            xds_address: self.agent.xds(),
            workload_api_socket: self.workload_api.clone(),
            admin_address: Some((host.address, 15000).into()),
        };
        let envoy = Envoy::start_with("gateway", &bootstrap.to_json(), &host.wrapper()).await?;
        self.cluster.create_namespace(ISTIO_NAMESPACE).await?;
        let labels = json!({ "istio": "ingressgateway" });
        self.cluster
            .apply(&json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "namespace": ISTIO_NAMESPACE, "name": "istio-ingressgateway" },
                "spec": { "type": "LoadBalancer", "selector": labels, "ports": [{ "name": "https", "port": 443 }] },
            }))
            .await?;
        self.cluster.set_load_balancer(ISTIO_NAMESPACE, "istio-ingressgateway", &[json!({ "ip": host.address })]).await?;
        Ok(Gateways::Own { _envoy: envoy, host })
    }

    /// Where clients without a mesh enter.
    pub(crate) fn ingress(&self) -> SocketAddr {
        let address = match self.gateways.as_ref().expect("the gateways are open") {
            Gateways::Mesh { ingress, .. } => ingress.host.address,
            Gateways::Own { host, .. } => host.address,
        };
        (address, 443).into()
    }

    pub(crate) fn east_west(&self) -> Option<SocketAddr> {
        match self.gateways.as_ref()? {
            Gateways::Mesh { east_west, .. } => Some((east_west.host.address, 15443).into()),
            Gateways::Own { .. } => None,
        }
    }

    /// The resolver of pods in the mesh.
    pub(crate) fn mesh_names(&self) -> Option<SocketAddr> {
        self.names.as_ref().map(|names| names.address)
    }

    /// Reads from the ServiceEntries which addresses istiod gave to their names.
    pub(crate) async fn learn_mesh_names(&self) -> Result<()> {
        let names = self.names.as_ref().context("no mesh")?;
        let mut addresses = BTreeMap::new();
        for entry in self.list("networking.istio.io", "v1", "ServiceEntry").await? {
            let host = entry.data["spec"]["hosts"][0].as_str().and_then(|host| host.parse::<Hostname>().ok());
            let given = entry.data["status"]["addresses"].as_array().into_iter().flatten();
            let address = given.filter_map(|given| given["value"].as_str()?.parse::<Ipv4Addr>().ok()).next();
            addresses.extend(host.zip(address));
        }
        *names.known.lock().unwrap() = addresses.clone();
        names.zone.set(addresses);
        Ok(())
    }

    /// All objects of a kind, in all namespaces.
    pub(crate) async fn list(&self, group: &str, version: &str, kind: &str) -> Result<ObjectList<DynamicObject>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Ok(Api::<DynamicObject>::all_with(self.cluster.client()?, &resource).list(&ListParams::default()).await?)
    }

    /// Lets processes with this program speak in the zone as `path`, to these zones.
    pub(crate) async fn bind(&self, plane: &Plane, path: &str, program_name: &str, federates_with: &[usize]) -> Result<()> {
        let path_of_program = if program_name == "envoy" { cofide_testkit::envoy::binary()? } else { program(program_name) };
        plane.bind_program(self.zone, path, &path_of_program, federates_with).await?;
        Ok(())
    }

    /// The status of a FederatedService; `Null` where it has none.
    pub(crate) async fn status(&self, namespace: &str, name: &str) -> Result<serde_json::Value> {
        let object = self.cluster.get("registry.cofide.io/v1alpha1", "FederatedService", namespace, name).await?;
        Ok(object.map_or(serde_json::Value::Null, |object| object.data["status"].clone()))
    }

    /// What helps to see why something failed.
    pub(crate) async fn dump(&self) -> String {
        let mut text = format!("=== {:?}\n", self.cluster);
        for (group, version, kind) in [
            ("registry.cofide.io", "v1alpha1", "FederatedService"),
            ("networking.istio.io", "v1", "ServiceEntry"),
            ("networking.istio.io", "v1", "WorkloadEntry"),
            ("networking.istio.io", "v1", "Gateway"),
            ("networking.istio.io", "v1", "VirtualService"),
            ("networking.istio.io", "v1", "DestinationRule"),
        ] {
            for object in self.list(group, version, kind).await.into_iter().flatten() {
                let (namespace, name) = (object.metadata.namespace.unwrap_or_default(), object.metadata.name.unwrap_or_default());
                text.push_str(&format!("{kind} {namespace}/{name} {}\n", object.data));
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
        let log = self.agent.log();
        let lines: Vec<_> = log.lines().collect();
        text.push_str(&format!("--- agent\n{}\n", lines[lines.len().saturating_sub(40)..].join("\n")));
        text
    }
}
