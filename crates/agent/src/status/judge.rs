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
        let mesh_problems = mesh.as_ref().as_ref().zip(hostname).map(|(mesh, hostname)| mesh.problems_of(hostname)).unwrap_or_default();
        let mesh_findings =
            findings.as_ref().as_ref().zip(export.offer()).map(|(findings, offer)| findings.of_export(offer)).unwrap_or_default();
        let around = Surroundings {
            registration: id.and_then(|id| registrations.get(id)),
            targets: id.and_then(|id| plan.targets(id)),
            gateway_connected,
            gateway_waits: exports.incomplete,
            gateway_of_mesh,
            gateway_findings: &exports.gateway_findings,
            mesh_problems: &mesh_problems,
            mesh_findings: &mesh_findings,
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
