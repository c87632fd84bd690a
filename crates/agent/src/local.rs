//! The executor of everything that needs nobody else: gateway, client proxies, DNS.
//!
//! It waits for no network and no other process, so what local clients see follows the manifests and the plan at once,
//! whatever is down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use cofide_api::convert::plan as wire;
use cofide_core::{Gateway, Hostname};
use cofide_dns::ZoneHandle;

use crate::addresses::Addresses;
use crate::desired::desired;
use crate::export::Offer;
use crate::own_cluster::OwnCluster;
use crate::world::{Exports, LocalReport, World};
use crate::xds_service::XdsService;

#[derive(Debug)]
pub struct Local {
    pub cluster: OwnCluster,
    pub gateway_listen: SocketAddr,
    /// This host's gateways, as remote zones reach them.
    pub gateways: Vec<Gateway>,
    pub addresses: Mutex<Addresses>,
    pub xds: Arc<XdsService>,
    pub dns: ZoneHandle,
    pub world: Arc<World>,
}

#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct NoAddresses(Vec<String>);

impl Local {
    /// Makes everything local look as view and plan say.
    ///
    /// What is not known yet is not shown: without a whole view the gateway waits, and without a plan the clients do.
    ///
    /// # Errors
    ///
    /// When an import has no address of its own. Everything else is in place then.
    pub fn reconcile(&self) -> Result<(), NoAddresses> {
        let view = self.world.view.get();
        let plan = self.world.plan.get();
        let exports = view.as_ref().as_ref().map(|view| Exports::of(&self.cluster, &self.gateways, view));
        let offers = exports.iter().flat_map(|exports| &exports.exports).filter_map(|export| export.offer());
        // From a plan that is not whole, nothing is concluded.
        let exports_known = plan.is_known(wire::EXPORTED_SERVICE);
        let targets = |offer: &Offer| if exports_known { plan.targets(&offer.service.id) } else { None };
        let routes = offers.map(|offer| offer.route(targets(offer)));
        let imports_known = plan.is_known(wire::IMPORTED_SERVICE);

        let wanted: BTreeSet<Hostname> = plan.imports().map(|import| import.hostname.clone()).collect();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        // To release the addresses of imports that are merely not known would be to forget them.
        let assignment = if imports_known { addresses.assign(&wanted, SystemTime::now().into()) } else { Default::default() };
        drop(addresses);

        let desired = desired(self.gateway_listen, routes, plan.imports().cloned(), &assignment.addresses);
        if exports.as_ref().is_some_and(|exports| !exports.incomplete) {
            self.xds.publish_gateway(desired.gateway);
        }
        if imports_known {
            // A name is answered when its listener has been announced, not before.
            self.xds.publish_imports(desired.imports);
            self.dns.set(desired.dns);
        }
        self.world.exports.set(exports);
        let refused: BTreeMap<_, _> = assignment.refused.iter().map(|(hostname, reason)| (hostname.clone(), reason.to_string())).collect();
        let reasons: Vec<_> = refused.iter().map(|(hostname, reason)| format!("{hostname}: {reason}")).collect();
        self.world.local.set(Some(LocalReport { plan_revision: plan.revision, refused }));
        if reasons.is_empty() { Ok(()) } else { Err(NoAddresses(reasons)) }
    }
}
