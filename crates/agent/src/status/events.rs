//! Kubernetes Events about FederatedServices: what changed for an owner who looks at `kubectl describe`.
//!
//! An Event is said once for each change of a condition that is settled: not for what is only not known yet, and not for each
//! part that falls into its place on the way to Ready. How many there can be in a while is bounded, because a thousand
//! services that lose Connect are one thing that happened and not a thousand.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofide_core::ConditionKind;
use cofide_k8s_api::{Condition, ConditionStatus, federated_service};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::Instant;

use crate::view::ObjectKey;

/// So many Events at once, and one more each [`REFILL`].
const BURST: u32 = 50;
const REFILL: Duration = Duration::from_secs(2);
/// The API server takes a note of 1024 bytes.
const LONGEST_NOTE: usize = 1000;

/// What there is to say about one change. Pure.
pub(super) fn news<'c>(before: &[Condition], now: &'c [Condition]) -> Vec<&'c Condition> {
    let is_news = |condition: &&Condition| {
        let before = before.iter().find(|before| before.kind == condition.kind);
        let is_ready = condition.kind == ConditionKind::Ready.as_str();
        match condition.status {
            ConditionStatus::Unknown => false,
            // That a part is in its place is news where it was not before.
            ConditionStatus::True if !is_ready => before.is_some_and(|before| before.status == ConditionStatus::False),
            // What is wrong with a part says all; Ready would say it again.
            ConditionStatus::False if is_ready && before.is_none() => false,
            ConditionStatus::True | ConditionStatus::False => {
                before.is_none_or(|before| before.status != condition.status || before.reason != condition.reason)
            }
        }
    };
    now.iter().filter(is_news).collect()
}

/// Writes Events, so many and no more.
pub(super) struct Events {
    recorder: Recorder,
    budget: Mutex<Budget>,
}

struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let gained = now.duration_since(self.since).as_secs() / REFILL.as_secs();
        if gained > 0 {
            self.left = self.left.saturating_add(u32::try_from(gained).unwrap_or(BURST)).min(BURST);
            self.since = now;
        }
        let has = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has
    }
}

impl Events {
    pub(super) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: crate::FIELD_MANAGER.to_owned(), instance: Some(instance) };
        Self { recorder: Recorder::new(client, reporter), budget: Mutex::new(Budget { left: BURST, since: Instant::now() }) }
    }

    /// Says what changed. An Event that cannot be written is no reason to hold anything up: the status says the same.
    pub(super) async fn tell(&self, key: &ObjectKey, uid: &str, news: &[&Condition]) {
        for condition in news {
            if !self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
                tracing::debug!(object = %key, reason = condition.reason, "an Event is left out: there were many");
                continue;
            }
            let is_good = condition.status == ConditionStatus::True;
            let event = Event {
                type_: if is_good { EventType::Normal } else { EventType::Warning },
                reason: condition.reason.clone(),
                note: Some(note(condition)),
                action: condition.kind.clone(),
                secondary: None,
            };
            let regarding = ObjectReference {
                api_version: Some(federated_service::API_VERSION.to_owned()),
                kind: Some(federated_service::KIND.to_owned()),
                namespace: Some(key.namespace.clone()),
                name: Some(key.name.clone()),
                uid: Some(uid.to_owned()),
                ..ObjectReference::default()
            };
            if let Err(error) = self.recorder.publish(&event, &regarding).await {
                tracing::debug!(object = %key, %error, "cannot write an Event");
            }
        }
    }
}

fn note(condition: &Condition) -> String {
    let mut note = format!("{}: {}", condition.kind, condition.message);
    if note.len() > LONGEST_NOTE {
        let end = (0..=LONGEST_NOTE).rev().find(|&end| note.is_char_boundary(end)).unwrap_or_default();
        note.truncate(end);
        note.push_str("...");
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: ConditionKind, status: ConditionStatus, reason: &str) -> Condition {
        Condition {
            kind: kind.as_str().to_owned(),
            status,
            observed_generation: None,
            last_transition_time: String::new(),
            reason: reason.to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn what_is_settled_and_changed_is_news_and_nothing_else() {
        use ConditionKind::{Accepted, GatewayReady, Ready, Registered};
        use ConditionStatus::{False, True, Unknown};
        type Conditions<'a> = &'a [(ConditionKind, ConditionStatus, &'a str)];
        let cases: [(&str, Conditions<'_>, Conditions<'_>, &[&str]); 6] = [
            ("a service that becomes ready", &[], &[(Accepted, True, "Valid"), (Ready, True, "Exported")], &["Exported"]),
            ("nothing new", &[(Ready, True, "Exported")], &[(Ready, True, "Exported")], &[]),
            ("not known yet", &[(Registered, True, "Registered")], &[(Registered, Unknown, "ConnectUnreachable")], &[]),
            ("wrong from the start, once", &[], &[(GatewayReady, False, "NoGateway"), (Ready, False, "NoGateway")], &["NoGateway"]),
            ("mended", &[(GatewayReady, False, "NoGateway")], &[(GatewayReady, True, "GatewaysDiscovered")], &["GatewaysDiscovered"]),
            ("wrong in another way", &[(Ready, False, "NoGateway")], &[(Ready, False, "NoService")], &["NoService"]),
        ];
        for (name, before, now, expected) in cases {
            let [before, now] =
                [before, now].map(|list| list.iter().map(|(kind, status, reason)| condition(*kind, *status, reason)).collect::<Vec<_>>());
            let told: Vec<_> = news(&before, &now).into_iter().map(|condition| condition.reason.as_str()).collect();
            assert_eq!(told, expected, "{name}");
        }
    }

    #[test]
    fn there_are_only_so_many_and_more_come_with_time() {
        let start = Instant::now();
        let mut budget = Budget { left: BURST, since: start };
        assert_eq!((0..1000).filter(|_| budget.take(start)).count(), 50);
        assert_eq!((0..1000).filter(|_| budget.take(start + REFILL * 3)).count(), 3);
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let long = Condition { message: "ä".repeat(2000), ..condition(ConditionKind::Ready, ConditionStatus::False, "X") };
        assert!(note(&long).len() <= 1024 && note(&long).ends_with("..."));
    }
}
