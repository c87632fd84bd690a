//! What the parts of the agent tell each other: values, published when they differ.
//!
//! ```text
//!  value                  written by              read by
//!  view                   source                  local
//!  plan                   plan stream             local, spire, istio, mesh, status, agent status, observer
//!  exports                local                   registrar, istio, mesh, status, agent status, observer
//!  service_registrations  registrar               status, agent status
//!  local                  local                   plan stream (receipts)
//!  spire                  spire                   plan stream (receipts), agent status, cluster state, observer; its changes also wake held bundles
//!  mesh                   istio                   status, plan stream (receipts)
//!  mesh_findings          mesh                    istio, status, observer
//!  unmet_conditions       status                  agent status
//!  own_bundle             identity                join, bundle, where the SPIRE server is left alone; its changes also wake mesh
//!  link                   uplink, plan stream     plan stream, bundle, observer; its changes also wake registrar, held bundles and agent status
//! ```
//!
//! Beside these, status and observer read which proxies are connected, from [`crate::xds_service::XdsService::proxies`].

use std::collections::BTreeMap;

use cofide_core::{Bundle, FederatedServiceId, Gateway, Hostname, UnmetCondition};

use crate::executors::kubernetes::MeshReport;
use crate::export::{self, Export, ServiceRegistration};
use crate::mesh::MeshFindings;
use crate::own_cluster::OwnCluster;
use crate::plan::Plan;
use crate::published::Published;
use crate::spire;
use crate::view::{ClusterView, GatewayService, Origin};

#[derive(Debug, Default)]
pub struct World {
    /// Absent until the source has been read once.
    pub view: Published<Option<ClusterView>>,
    pub plan: Published<Plan>,
    /// Absent until there is a view.
    pub exports: Published<Option<Exports>>,
    pub service_registrations: Published<BTreeMap<FederatedServiceId, ServiceRegistration>>,
    /// Absent until local clients have been shown something once.
    pub local: Published<Option<LocalReport>>,
    /// Absent until the SPIRE server has been reconciled once.
    pub spire: Published<Option<SpireReport>>,
    /// Absent until the mesh's objects have been reconciled once; for ever where there is no mesh.
    pub mesh: Published<Option<MeshReport>>,
    /// What of the mesh's settings is not as it has to be. Absent until they have been looked at; for ever where there is no mesh.
    pub mesh_findings: Published<Option<MeshFindings>>,
    /// What the Workload API says of the trust zone's bundle: its X.509 authorities, uncounted. Absent without an identity.
    pub own_bundle: Published<Option<Bundle>>,
    /// What keeps exported services from working, as their owners are told.
    pub unmet_conditions: Published<Vec<UnmetCondition>>,
    /// How the way to Connect is.
    pub link: Published<Link>,
}

/// What was decided about the view's services, and what the view said beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// Oldest first.
    pub exports: Vec<Export>,
    /// Problems that belong to no service.
    pub problems: BTreeMap<Origin, Vec<String>>,
    /// Those that were discovered: a mesh's objects are bound to their pods.
    pub gateways: Vec<GatewayService>,
    /// What was looked for in vain where gateways are discovered.
    pub gateway_findings: Vec<String>,
    /// As the view has it: what is missing here is not known to be gone.
    pub incomplete: bool,
}

impl Exports {
    /// What follows from a view, where the configuration names these gateways.
    pub fn of(cluster: &OwnCluster, gateways: &[Gateway], view: &ClusterView) -> Self {
        Self {
            exports: export::export(cluster, gateways, view),
            problems: view.problems.clone(),
            gateways: view.gateways.clone(),
            gateway_findings: view.gateway_findings.clone(),
            incomplete: view.incomplete,
        }
    }
}

/// What became of one revision of the plan for the clients of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReport {
    pub plan_revision: u64,
    /// Imports that local clients cannot reach by name, and why.
    pub refused: BTreeMap<Hostname, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Not a member of its cluster yet.
    #[default]
    Joining,
    Disconnected(String),
    Connected,
}

/// What became of one revision of the plan in the SPIRE server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpireReport {
    pub plan_revision: u64,
    pub report: spire::Report,
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::GatewayKind;
    use cofide_test_objects::{gateway, port};
    use futures::FutureExt;

    use crate::own_cluster::testing::own_cluster;
    use crate::published::Wake;

    /// Istio's objects are bound to the gateway's pods, and whoever writes those is woken by the exports.
    #[test]
    fn a_gateway_that_has_other_pods_at_the_same_address_wakes_those_who_read_the_exports() {
        let (world, wake) = (World::default(), Wake::default());
        world.exports.wakes(&wake);
        let found = |pods: &str| {
            let gateway = GatewayService {
                kind: GatewayKind::EastWest,
                namespace: "istio-system".to_owned(),
                name: "istio-eastwestgateway".to_owned(),
                service_type: "LoadBalancer".to_owned(),
                selector: BTreeMap::from([("app".to_owned(), pods.to_owned())]),
                port: port(15443),
                entries: vec![gateway(GatewayKind::EastWest, "192.0.2.1", 15443)],
            };
            let view = ClusterView { gateways: vec![gateway], ..ClusterView::default() };
            world.exports.set(Some(Exports::of(&own_cluster("a.test"), &[], &view)));
            wake.woken().now_or_never().is_some()
        };
        assert!(found("blue"));
        assert!(!found("blue"), "nothing has changed");
        assert!(found("green"));
    }
}
