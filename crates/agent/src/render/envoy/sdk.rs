//! What xDS SDKs and Envoys with listeners of their own see.

use cofide_core::ImportedService;

use super::{Rendered, TrustBundles, client, wire};
use crate::desired::DesiredImport;

/// Endpoints `<hostname>_cluster` for every import, with names where gateways have names, because an SDK dials those
/// itself; and the clusters, for Envoys that bring their own listeners. No listeners.
pub fn sdk(imports: &[DesiredImport], bundles: TrustBundles) -> Rendered {
    let mut rendered = Rendered::new();
    for DesiredImport { import, .. } in imports {
        client::clusters(&mut rendered, import, bundles);
        endpoints_by_name(&mut rendered, import);
    }
    rendered
}

/// Only where [`client::clusters`] left them out. An Envoy does not ask for these: its clusters hold them already.
fn endpoints_by_name(rendered: &mut Rendered, import: &ImportedService) {
    let endpoints = client::endpoints(import);
    if endpoints.for_envoy().is_none() {
        let assignment = endpoints.load_assignment();
        wire::push(rendered, assignment.cluster_name.clone(), &assignment);
    }
}
