//! The status of one FederatedService, the same on a host and in a cluster. Pure.

use cofide_k8s_api::federated_service::gateway_summary;
use cofide_k8s_api::{Condition, FederatedServiceStatus, GatewaySpec, set_condition};

use crate::export::{Export, conditions};

/// What the status should be, where `before` are the conditions that it has.
///
/// Its gateways are those that clients are given: the manual ones where there are any, else the discovered ones.
///
/// `now` is RFC 3339 in UTC; it becomes the transition time of the conditions whose status differs from `before`.
pub fn service_status(export: &Export, found: &[conditions::Condition], before: &[Condition], now: &str) -> FederatedServiceStatus {
    let generation = i64::try_from(export.generation).ok();
    let mut conditions = before.to_vec();
    for condition in found {
        let condition = Condition {
            kind: condition.kind.as_str().to_owned(),
            status: condition.status,
            observed_generation: generation,
            last_transition_time: now.to_owned(),
            reason: condition.reason.to_owned(),
            message: condition.message.clone(),
        };
        // The time of one that is as it was stays.
        set_condition(&mut conditions, condition);
    }
    let service = export.offer().map(|offer| &offer.service);
    let gateways: Vec<GatewaySpec> = service.into_iter().flat_map(|service| service.gateways()).map(Into::into).collect();
    FederatedServiceStatus {
        hostname: service.map(|service| service.hostname.to_string()),
        gateway_summary: gateway_summary(&gateways),
        gateway_entries: gateways,
        conditions,
        observed_generation: generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    use crate::export::{Decision, reasons};
    use crate::status::render::{History, render};
    use crate::status::testing::{key, object, offered};
    use crate::view::Origin;
    use cofide_core::{ConditionKind, Gateway, GatewayKind};
    use cofide_k8s_api::ConditionStatus;
    use cofide_test_objects::gateway;

    fn export(generation: u64) -> Export {
        Export { key: key(), origin: object(), generation, problems: vec![], decision: Decision::Invalid }
    }

    fn said(status: ConditionStatus, message: &str) -> Vec<conditions::Condition> {
        let kind = ConditionKind::Ready;
        vec![conditions::Condition { kind, status, reason: reasons::INVALID, message: message.to_owned() }]
    }

    #[test]
    fn a_status_that_says_what_it_should_is_the_same_at_any_time() {
        let conditions = said(ConditionStatus::False, "no port");
        let first = service_status(&export(3), &conditions, &[], "2026-01-01T00:00:00Z");
        assert_eq!(first.observed_generation, Some(3));
        assert_eq!(service_status(&export(3), &conditions, &first.conditions, "2026-02-02T00:00:00Z"), first);
        let reworded = service_status(&export(3), &said(ConditionStatus::False, "port 0"), &first.conditions, "2026-02-02T00:00:00Z");
        assert_eq!(reworded.conditions[0].last_transition_time, "2026-01-01T00:00:00Z", "its status has not changed");
        let mended = service_status(&export(4), &said(ConditionStatus::True, "well"), &first.conditions, "2026-02-02T00:00:00Z");
        assert_eq!(mended.conditions[0].last_transition_time, "2026-02-02T00:00:00Z");
    }

    #[test]
    fn what_others_say_in_the_status_stays() {
        let other = Condition {
            kind: "example.com/Audited".to_owned(),
            status: ConditionStatus::True,
            observed_generation: None,
            last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
            reason: "Audited".to_owned(),
            message: String::new(),
        };
        let after =
            service_status(&export(1), &said(ConditionStatus::False, "no port"), std::slice::from_ref(&other), "2026-02-02T00:00:00Z");
        assert!(after.conditions.contains(&other));
    }

    #[test]
    fn a_status_shows_the_gateways_that_clients_are_given_on_a_host_as_in_a_cluster() {
        let now = "2026-01-01T00:00:00Z";
        let (found, by_hand) = ([gateway(GatewayKind::Ingress, "192.0.2.1", 443)], [gateway(GatewayKind::EastWest, "192.0.2.9", 15443)]);
        let entries = |gateways: &[Gateway]| gateways.iter().map(GatewaySpec::from).collect::<Vec<_>>();
        let cases = [
            (&found[..], &by_hand[..], &by_hand[..], Some("192.0.2.9:15443")),
            (&found, &[], &found, Some("192.0.2.1:443")),
            (&[], &[], &[], None),
        ];
        for (discovered, manual, shown, summary) in cases {
            let in_cluster = service_status(&offered(object(), None, discovered, manual), &[], &[], now);
            assert_eq!((in_cluster.gateway_entries.clone(), in_cluster.gateway_summary.as_deref()), (entries(shown), summary));
            assert_eq!(in_cluster.hostname.as_deref(), Some("server.demo.a.test"));

            let manifest = offered(Origin::File("m/demo.yaml".into()), None, discovered, manual);
            let files = render(&[(&manifest, vec![])], &BTreeMap::new(), &mut History::default(), now);
            let document: serde_json::Value = serde_saphyr::from_str(&files[Path::new("m/demo.status.yaml")]).unwrap();
            assert_eq!(document["status"], serde_json::to_value(in_cluster).unwrap());
        }
    }
}
