use super::*;
use crate::export::{Decision, reasons};
use crate::view::Kind;

fn export(generation: u64) -> Export {
    let key = ObjectKey { kind: Kind::FederatedService, namespace: "demo".to_owned(), name: "ping-pong".to_owned() };
    let origin = Origin::Object { key: key.clone(), uid: "u".to_owned() };
    Export { key, origin, generation, problems: vec!["spec.port: must be set".to_owned()], decision: Decision::Invalid }
}

fn said(status: ConditionStatus, message: &str) -> Vec<conditions::Condition> {
    let kind = ConditionKind::Ready;
    vec![conditions::Condition { kind, status, reason: reasons::INVALID, message: message.to_owned() }]
}

#[test]
fn a_status_that_says_what_it_should_is_the_same_at_any_time() {
    let conditions = said(ConditionStatus::False, "no port");
    let first = wanted(&export(3), &conditions, &FederatedServiceStatus::default(), "2026-01-01T00:00:00Z");
    assert_eq!(first.observed_generation, Some(3));
    assert_eq!(wanted(&export(3), &conditions, &first, "2026-02-02T00:00:00Z"), first);
    let reworded = wanted(&export(3), &said(ConditionStatus::False, "port 0"), &first, "2026-02-02T00:00:00Z");
    assert_eq!(reworded.conditions[0].last_transition_time, "2026-01-01T00:00:00Z", "its status has not changed");
    let mended = wanted(&export(4), &said(ConditionStatus::True, "well"), &first, "2026-02-02T00:00:00Z");
    assert_eq!(mended.conditions[0].last_transition_time, "2026-02-02T00:00:00Z");
}

#[test]
fn what_others_say_in_the_status_stays() {
    let mut before = FederatedServiceStatus::default();
    let other = cofide_k8s_api::Condition {
        kind: "example.com/Audited".to_owned(),
        status: ConditionStatus::True,
        observed_generation: None,
        last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
        reason: "Audited".to_owned(),
        message: String::new(),
    };
    before.conditions.push(other.clone());
    let after = wanted(&export(1), &said(ConditionStatus::False, "no port"), &before, "2026-02-02T00:00:00Z");
    assert!(after.conditions.contains(&other));
}

#[test]
fn what_is_on_its_way_is_waited_for_while_others_arrive_and_not_for_ever() {
    let seconds = Duration::from_secs;
    let connected = |waited, idle| is_awaited(&Link::Connected, seconds(waited), seconds(idle));
    assert!(connected(60, 1), "it has its turn");
    assert!(!connected(60, 20), "nothing moves");
    assert!(!connected(120, 1), "the others may never come to an end");
    let disconnected = |waited| is_awaited(&Link::Disconnected(String::new()), waited, Duration::ZERO);
    assert!(disconnected(Duration::from_millis(999)) && !disconnected(seconds(1)));
}
