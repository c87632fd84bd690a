//! What the parts of the agent tell each other: values, published when they differ.
//!
//! ```text
//!  value                  written by              read by
//!  view                   source                  local, istio
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

use cofide_core::{Bundle, FederatedServiceId, Hostname, UnmetCondition};

use crate::executors::kubernetes::MeshReport;
use crate::export::{Export, ServiceRegistration};
use crate::mesh::MeshFindings;
use crate::plan::Plan;
use crate::published::Published;
use crate::spire;
use crate::view::{ClusterView, Origin};

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
    /// What was looked for in vain where gateways are discovered.
    pub gateway_findings: Vec<String>,
    /// As the view has it: what is missing here is not known to be gone.
    pub incomplete: bool,
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
