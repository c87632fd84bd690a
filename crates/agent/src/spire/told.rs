//! What spire-controller-manager says about an object, as an outcome. Pure.
//!
//! It says little: a status is that of the last run of the controller, names no version of the object, and is written only
//! when it differs. So an old one is not a stale one, and one that is missing may be that of an object that selects nothing.

use cofide_k8s_api::spire::{ClusterSPIFFEIDStatus, ClusterStaticEntryStatus};
use serde::Deserialize;
use serde_json::Value;

use super::executor::Outcome;
use crate::render::object::ObjectName;

const POD_IDENTITIES: &str = "ClusterSPIFFEID";

/// `status` was last changed at `time`; `class` is the class in the object.
pub fn outcome(object: &ObjectName, status: &Value, time: Option<&str>, class: &str) -> Outcome {
    if status.is_null() {
        let class = if class.is_empty() { "objects without a class".to_owned() } else { format!("the class {class}") };
        let nothing_selected = if object.kind == POD_IDENTITIES { ", or the object selects no namespace" } else { "" };
        return Outcome::Unseen(format!(
            "spire-controller-manager has said nothing about {object}: it does not run, or does not take {class}{nothing_selected}. See its \
             log, and className and watchClassless in its configuration"
        ));
    }
    let since = time.map(|time| format!(" (since {time})")).unwrap_or_default();
    let problem = match object.kind {
        POD_IDENTITIES => ClusterSPIFFEIDStatus::deserialize(status).map(of_pods),
        _ => ClusterStaticEntryStatus::deserialize(status).map(of_entry),
    };
    match problem {
        Ok(None) => Outcome::Applied,
        Ok(Some(problem)) => Outcome::Failed(format!("spire-controller-manager says of {object}{since}: {problem}")),
        Err(error) => Outcome::Unseen(format!(
            "what spire-controller-manager says of {object}{since} cannot be read ({error}); see that its version is one that this agent \
             was made for, and look at the status of the object"
        )),
    }
}

fn of_pods(status: ClusterSPIFFEIDStatus) -> Option<String> {
    let stats = status.stats;
    let pods = stats.pods_selected;
    let counted = [
        (stats.pod_entry_render_failures, "get no SPIFFE ID from the template; see its log for the reason"),
        (stats.entry_failures, "have an entry that the SPIRE server does not take; see its log for the reason"),
        (stats.entries_masked, "have an entry of another object that is older; delete that, or bind a policy that selects other pods"),
    ];
    let said: Vec<_> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} of {pods} pods {what}")).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn of_entry(status: ClusterStaticEntryStatus) -> Option<String> {
    if !status.rendered {
        return Some("it is not a valid entry; see its log for the reason".to_owned());
    }
    status.masked.then(|| "another object that is older has the same SPIFFE ID, parent and selectors; delete that".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kind: &'static str, status: &Value) -> Outcome {
        let name = ObjectName { kind, namespace: String::new(), name: "cofide-a".to_owned() };
        outcome(&name, status, Some("2026-11-28T17:00:00Z"), "spire")
    }

    #[test]
    fn a_count_of_failures_is_a_failure_with_its_age() {
        let stats = |field: &str| json!({ "stats": { "podsSelected": 3, "entriesToSet": 3, field: 2 } });
        assert_eq!(of("ClusterSPIFFEID", &stats("namespacesSelected")), Outcome::Applied);
        for (field, expected) in [
            ("entryFailures", "2 of 3 pods have an entry that the SPIRE server does not take"),
            ("podEntryRenderFailures", "2 of 3 pods get no SPIFFE ID from the template"),
            ("entriesMasked", "2 of 3 pods have an entry of another object"),
        ] {
            let Outcome::Failed(reason) = of("ClusterSPIFFEID", &stats(field)) else { panic!("{field}") };
            assert!(reason.contains(expected) && reason.contains("(since 2026-11-28T17:00:00Z)"), "{reason}");
        }
    }

    #[test]
    fn an_entry_that_was_not_created_in_the_last_run_is_there_all_the_same() {
        assert_eq!(of("ClusterStaticEntry", &json!({ "rendered": true, "masked": false, "set": false })), Outcome::Applied);
        assert!(
            matches!(of("ClusterStaticEntry", &json!({ "rendered": false })), Outcome::Failed(reason) if reason.contains("not a valid"))
        );
        let masked = of("ClusterStaticEntry", &json!({ "rendered": true, "masked": true, "set": false }));
        assert!(matches!(masked, Outcome::Failed(reason) if reason.contains("older")));
    }

    #[test]
    fn silence_is_neither_success_nor_failure() {
        let unseen = |kind, status| match of(kind, &status) {
            Outcome::Unseen(reason) => reason,
            other => panic!("{other:?}"),
        };
        let of_pods = unseen("ClusterSPIFFEID", Value::Null);
        for word in ["ClusterSPIFFEID cofide-a", "does not take the class spire", "selects no namespace", "See its log"] {
            assert!(of_pods.contains(word), "{of_pods}");
        }
        let of_entry = unseen("ClusterStaticEntry", Value::Null);
        assert!(of_entry.contains("ClusterStaticEntry cofide-a") && !of_entry.contains("namespace"), "{of_entry}");
        let unread = unseen("ClusterSPIFFEID", json!({ "stats": "?" }));
        assert!(unread.contains("ClusterSPIFFEID cofide-a") && unread.contains("cannot be read"), "{unread}");
    }
}
