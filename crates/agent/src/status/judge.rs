//! What there is to say about each service, from everything that is known of it.

use cofide_core::{ConditionKind, UnmetCondition};
use cofide_k8s_api::ConditionStatus;

use crate::export::Export;
use crate::export::conditions::{Condition, Surroundings, conditions};
use crate::role::Role;
use crate::world::{Exports, World};
use crate::xds_service::XdsService;

/// The conditions of each export, in the order of the exports.
pub fn judge<'e>(exports: &'e Exports, world: &World, xds: &XdsService, gateway_of_mesh: bool) -> Vec<(&'e Export, Vec<Condition>)> {
    let plan = world.plan.get();
    let registrations = world.service_registrations.get();
    let gateway_connected = xds.proxies().get().iter().any(|proxy| proxy.role == Role::Gateway);
    let (mesh, findings) = (world.mesh.get(), world.mesh_findings.get());
    let judged = exports.exports.iter().map(|export| {
        let id = export.offer().map(|offer| &offer.service.id);
        let hostname = export.offer().map(|offer| &offer.service.hostname);
        let mesh_findings =
            findings.as_ref().as_ref().zip(export.offer()).map(|(findings, offer)| findings.of_export(offer)).unwrap_or_default();
        let of_mesh = mesh.as_ref().as_ref().zip(hostname);
        let mesh_problems = of_mesh.map(|(mesh, hostname)| mesh.problems_of(hostname)).unwrap_or_default();
        let mesh_notes = of_mesh.and_then(|(mesh, hostname)| mesh.notes.get(hostname)).map_or(&[][..], Vec::as_slice);
        let around = Surroundings {
            registration: id.and_then(|id| registrations.get(id)),
            targets: id.and_then(|id| plan.targets(id)),
            gateway_connected,
            gateway_waits: exports.incomplete,
            gateway_of_mesh,
            gateway_findings: &exports.gateway_findings,
            mesh_problems: &mesh_problems,
            mesh_findings: &mesh_findings,
            mesh_notes,
        };
        (export, conditions(export, around))
    });
    judged.collect()
}

/// What keeps services from working here that people elsewhere may ask for: of each the first condition that does not hold.
/// What Connect knows by itself is none of it.
pub fn unmet(judged: &[(&Export, Vec<Condition>)]) -> Vec<UnmetCondition> {
    let is_told = |condition: &&Condition| {
        let is_ours = matches!(condition.kind, ConditionKind::GatewayReady | ConditionKind::BackendsReady | ConditionKind::Registered);
        is_ours && condition.status == ConditionStatus::False
    };
    let first = |(export, conditions): &(&Export, Vec<Condition>)| {
        let (offer, condition) = (export.offer()?, conditions.iter().find(is_told)?);
        Some(UnmetCondition {
            hostname: offer.service.hostname.clone(),
            kind: condition.kind,
            reason: condition.reason.to_owned(),
            message: condition.message.clone(),
        })
    };
    judged.iter().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::addresses::LoopbackPool;
    use crate::executors::kubernetes::MeshReport;
    use crate::export::ServiceRegistration;
    use crate::render::envoy::SidecarSettings;
    use crate::status::testing::{object, offered};
    use crate::view::Backing;
    use cofide_core::GatewayKind;
    use cofide_test_objects::gateway;

    #[test]
    fn what_a_mesh_cannot_give_in_full_is_told_to_the_owner_and_changes_nothing_else() {
        let backing = Backing { service: Some("server".to_owned()), ..Backing::default() };
        let export = offered(object(), Some(backing), &[gateway(GatewayKind::Ingress, "192.0.2.1", 443)], &[]);
        let service = export.offer().unwrap().service.clone();
        let exports = Exports { exports: vec![export], ..Exports::default() };
        let world = World::default();
        world.service_registrations.set(BTreeMap::from([(service.id, ServiceRegistration::Registered)]));
        let resolver = "127.0.0.1:53".parse().unwrap();
        let xds = XdsService::new(SidecarSettings { pool: LoopbackPool::default(), resolver, fallback_resolvers: Default::default() });
        let before = judge(&exports, &world, &xds, true).remove(0).1;

        let note = "pods listen on two ports, and a ServiceEntry can name one".to_owned();
        let notes = BTreeMap::from([(service.hostname, vec![note.clone()])]);
        world.mesh.set(Some(MeshReport { notes, ..MeshReport::default() }));
        let after = judge(&exports, &world, &xds, true).remove(0).1;
        for (before, after) in before.into_iter().zip(after) {
            let told = format!("{}; beside that, {note}", before.message);
            let message = if before.kind == ConditionKind::BackendsReady { told } else { before.message.clone() };
            assert_eq!(after, Condition { message, ..before });
        }
    }
}
