//! Kubernetes Events about FederatedServices: what changed for an owner who looks at `kubectl describe`.
//!
//! An Event is said when a service becomes ready, or is ready no more, or for another reason than before; not for what is only not
//! known yet, and not for each part, for the message names all that stand in the way. How many there can be in a while is bounded,
//! because a thousand services that lose Connect are one thing that happened and not a thousand. Good news are bounded more
//! tightly: whoever applies many services at once looks at their status.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofide_core::ConditionKind;
use cofide_k8s_api::{Condition, ConditionStatus, federated_service};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::Instant;

use crate::view::ObjectKey;

/// So many warnings at once, and so many good news, and one more of each every [`REFILL`].
const WARNINGS: u32 = 50;
const GOOD_NEWS: u32 = 10;
const REFILL: Duration = Duration::from_secs(2);
/// The API server takes a note of 1024 bytes.
const LONGEST_NOTE: usize = 1000;

/// What there is to say about one change. Pure.
pub(super) fn news<'c>(before: &[Condition], now: &'c [Condition]) -> Option<&'c Condition> {
    let ready_in = |conditions: &'_ [Condition]| conditions.iter().position(|condition| condition.kind == ConditionKind::Ready.as_str());
    let ready = &now[ready_in(now)?];
    let is_told = |before: &Condition| before.status == ready.status && before.reason == ready.reason;
    let is_news = ready.status != ConditionStatus::Unknown && !ready_in(before).is_some_and(|index| is_told(&before[index]));
    is_news.then_some(ready)
}

/// Writes Events, so many and no more.
pub(super) struct Events {
    recorder: Recorder,
    warnings: Mutex<Budget>,
    good_news: Mutex<Budget>,
}

struct Budget {
    burst: u32,
    left: u32,
    since: Instant,
}

impl Budget {
    fn new(burst: u32) -> Self {
        Self { burst, left: burst, since: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let gained = now.duration_since(self.since).as_secs() / REFILL.as_secs();
        if gained > 0 {
            self.left = self.left.saturating_add(u32::try_from(gained).unwrap_or(self.burst)).min(self.burst);
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
        let budget = |burst| Mutex::new(Budget::new(burst));
        Self { recorder: Recorder::new(client, reporter), warnings: budget(WARNINGS), good_news: budget(GOOD_NEWS) }
    }

    /// Says what changed. An Event that cannot be written is no reason to hold anything up: the status says the same.
    pub(super) async fn tell(&self, key: &ObjectKey, uid: &str, condition: &Condition) {
        let (budget, type_) = match condition.status {
            ConditionStatus::True => (&self.good_news, EventType::Normal),
            ConditionStatus::False | ConditionStatus::Unknown => (&self.warnings, EventType::Warning),
        };
        if !budget.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            tracing::debug!(object = %key, reason = condition.reason, "an Event is left out: there were many");
            return;
        }
        let event = Event {
            type_,
            reason: condition.reason.clone(),
            note: Some(note(format!("{}: {}", condition.kind, condition.message))),
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

/// No longer than the API server takes it.
pub(crate) fn note(mut note: String) -> String {
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
    fn a_service_that_becomes_ready_or_is_not_for_a_new_reason_is_news_and_nothing_else() {
        use ConditionKind::{Accepted, GatewayReady, Ready, Registered};
        use ConditionStatus::{False, True, Unknown};
        type Conditions<'a> = &'a [(ConditionKind, ConditionStatus, &'a str)];
        let no_gateway: Conditions<'_> = &[(GatewayReady, False, "NoGateway"), (Ready, False, "NoGateway")];
        let cases: [(&str, Conditions<'_>, Conditions<'_>, Option<&str>); 8] = [
            ("ready from the start", &[], &[(Accepted, True, "Valid"), (Ready, True, "Exported")], Some("Exported")),
            ("nothing new", &[(Ready, True, "Exported")], &[(Ready, True, "Exported")], None),
            ("not known yet", &[], &[(Registered, Unknown, "Pending"), (Ready, Unknown, "Pending")], None),
            ("a part that is not known", &[(Registered, True, "Registered")], &[(Registered, Unknown, "ConnectUnreachable")], None),
            ("wrong from the start", &[], no_gateway, Some("NoGateway")),
            ("wrong as before", no_gateway, no_gateway, None),
            ("mended", no_gateway, &[(GatewayReady, True, "GatewaysDiscovered"), (Ready, True, "Exported")], Some("Exported")),
            ("wrong in another way", no_gateway, &[(Ready, False, "NoService")], Some("NoService")),
        ];
        for (name, before, now, expected) in cases {
            let [before, now] =
                [before, now].map(|list| list.iter().map(|(kind, status, reason)| condition(*kind, *status, reason)).collect::<Vec<_>>());
            assert_eq!(news(&before, &now).map(|condition| condition.reason.as_str()), expected, "{name}");
        }
    }

    #[test]
    fn there_are_only_so_many_and_more_come_with_time() {
        let start = Instant::now();
        let mut budget = Budget { burst: WARNINGS, left: WARNINGS, since: start };
        assert_eq!((0..1000).filter(|_| budget.take(start)).count(), 50);
        assert_eq!((0..1000).filter(|_| budget.take(start + REFILL * 3)).count(), 3);
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let long = note("ä".repeat(2000));
        assert!(long.len() <= 1024 && long.ends_with("..."));
    }
}
