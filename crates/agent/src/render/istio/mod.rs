//! Istio objects, for a cluster that exports and for one that imports. Pure.
//!
//! ```text
//!  exports, gateways ──> server   ServiceEntry           the hostname, and the pods behind it
//!                                 PeerAuthentication     who terminates TLS on the pods' port
//!                                 AuthorizationPolicy    whom the sidecar admits             (IstioMtls)
//!                                 Gateway                the hostname on each gateway        ┐ where there is
//!                                 VirtualService         from the gateway to the hostname    ┘ a gateway
//!
//!  imports ────────────> client   ServiceEntry           the hostname, in every namespace of the mesh
//!                                 WorkloadEntry          one for each remote gateway
//!                                 DestinationRule        mTLS by the sidecar, with whom, and what goes around dead gateways
//!                                 VirtualService         plain text this way, TLS that way   (Mtls)
//!                                 EnvoyFilter            the server's trust domain           (where no SPIFFE ID is named)
//! ```
//!
//! How the two TLS modes travel:
//!
//! | `tlsMode`   | the sidecar of a client                                 | server name on the way       | gateway          | the server's pod          |
//! |-------------|---------------------------------------------------------|------------------------------|------------------|---------------------------|
//! | `Mtls`      | HTTP: its own mTLS; what begins with TLS: passed through | the hostname                 | PASSTHROUGH      | the application, untouched |
//! | `IstioMtls` | everything: its own mTLS                                | `outbound_.<port>_._.<host>` | AUTO_PASSTHROUGH | the sidecar, strictly     |
//!
//! The reasons for each field stand beside it in [`server`] and [`client`]; what they were checked against is istiod itself.
//! Each object has one value for one input, so what is equal is written once.

pub mod client;
mod object;
pub mod server;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use cofide_core::Hostname;

use super::object::ObjectName;

pub use object::{IstioObject, OWNER_ANNOTATION, SERVICE_LABEL, Side, WAVES};

/// What the objects should be, and what their owner should know beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    pub objects: BTreeMap<ObjectName, Arc<IstioObject>>,
    /// What an exported service could not be given in full, and why. Of an import Connect says it, which knows all gateways.
    pub notes: BTreeMap<Hostname, Vec<String>>,
    /// Services for which there are no objects at all, and why.
    pub refused: BTreeMap<Hostname, String>,
}

impl Rendered {
    fn add(&mut self, object: IstioObject) {
        self.objects.insert(object.name.clone(), Arc::new(object));
    }

    fn note(&mut self, hostname: &Hostname, note: impl Into<String>) {
        self.notes.entry(hostname.clone()).or_default().push(note.into());
    }
}

/// Where things are in this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// Where the objects of imports go: the agent's own namespace.
    pub agent_namespace: String,
    /// Istio's root namespace: an EnvoyFilter there holds in the whole mesh.
    pub root_namespace: String,
    /// The suffix of the cluster's own names, as in `cluster.local`.
    pub cluster_domain: String,
}

impl MeshSettings {
    /// Whether only the cluster itself may say what a name means: those of its Services.
    pub fn is_clusters_own(&self, hostname: &Hostname) -> bool {
        let suffix = format!("svc.{}", self.cluster_domain);
        hostname.as_str().strip_suffix(&suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Why there are no objects for a hostname.
fn refusal(hostname: &Hostname, settings: &MeshSettings, taken: &BTreeMap<Hostname, String>) -> Option<String> {
    if settings.is_clusters_own(hostname) {
        return Some(format!("{hostname} is a name for a Service of this cluster; nothing is written for it"));
    }
    let other = taken.get(hostname)?;
    Some(format!("{hostname} is a host of {other}, which the agent did not write and leaves alone. Delete that, or take the host from it"))
}
