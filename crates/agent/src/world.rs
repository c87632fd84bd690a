//! What the parts of the agent tell each other: values, published when they differ.
//!
//! ```text
//!  writer              value              readers
//!  source              view               local
//!  plan stream         plan               local, spire, status, uplink
//!  local               exports            registrations, status
//!  registrations       registrations      status
//!  spire               spire              plan stream (receipts), agent status
//!  xds service         proxies            status
//! ```

use std::collections::BTreeMap;

use cofide_core::FederatedServiceId;

use crate::export::Export;
use crate::plan::Plan;
use crate::published::Published;
use crate::spire;
use crate::uplink::Registration;
use crate::view::ClusterView;

#[derive(Debug, Default)]
pub struct World {
    /// Absent until the source has been read once.
    pub view: Published<Option<ClusterView>>,
    pub plan: Published<Plan>,
    /// Absent until there is a view.
    pub exports: Published<Option<Exports>>,
    pub registrations: Published<BTreeMap<FederatedServiceId, Registration>>,
    /// Absent until the SPIRE server has been reconciled once.
    pub spire: Published<Option<SpireReport>>,
}

/// What was decided about the view's services, and what the view said beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// Oldest first.
    pub exports: Vec<Export>,
    /// Problems that belong to no service, by file.
    pub problems: BTreeMap<std::path::PathBuf, Vec<String>>,
}

/// What became of one revision of the plan in the SPIRE server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpireReport {
    pub plan_revision: u64,
    pub report: spire::Report,
}
