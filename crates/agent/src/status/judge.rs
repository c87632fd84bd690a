//! What there is to say about each service, from everything that is known of it.

use crate::export::Export;
use crate::export::conditions::{Condition, Surroundings, conditions};
use crate::role::Role;
use crate::world::{Exports, World};
use crate::xds_service::XdsService;

/// The conditions of each export, in the order of the exports.
pub fn judge<'e>(exports: &'e Exports, world: &World, xds: &XdsService, gateway_of_mesh: bool) -> Vec<(&'e Export, Vec<Condition>)> {
    let plan = world.plan.get();
    let registrations = world.registrations.get();
    let gateway_connected = xds.proxies().get().iter().any(|proxy| proxy.role == Role::Gateway);
    let mesh = world.mesh.get();
    let judged = exports.exports.iter().map(|export| {
        let id = export.offer().map(|offer| &offer.service.id);
        let hostname = export.offer().map(|offer| &offer.service.hostname);
        let mesh_problems = mesh.as_ref().as_ref().zip(hostname).map(|(mesh, hostname)| mesh.problems_of(hostname)).unwrap_or_default();
        let around = Surroundings {
            registration: id.and_then(|id| registrations.get(id)),
            targets: id.and_then(|id| plan.targets(id)),
            gateway_connected,
            gateway_waits: exports.incomplete,
            gateway_of_mesh,
            gateway_findings: &exports.gateway_findings,
            mesh_problems: &mesh_problems,
        };
        (export, conditions(export, around))
    });
    judged.collect()
}
