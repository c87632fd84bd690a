//! `metav1.Condition`

use std::fmt;

use serde::{Deserialize, Serialize};

/// One aspect of an object's state (Kubernetes API conventions, "typical status properties").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: ConditionStatus,
    /// The `metadata.generation` that the condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed, RFC 3339.
    pub last_transition_time: String,
    /// A word in CamelCase, for programs.
    pub reason: String,
    /// A sentence, for people.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

/// Puts a condition in the place of the one of its type, or at the end. The transition time stays as it was where the
/// status did not change.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|condition| condition.kind == new.kind) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time.clone_from(&old.last_transition_time);
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let condition = |status, reason: &str, time: &str| Condition {
            kind: "Ready".into(),
            status,
            observed_generation: Some(1),
            last_transition_time: time.into(),
            reason: reason.into(),
            message: String::new(),
        };
        let mut conditions = vec![condition(ConditionStatus::False, "Waiting", "t1")];
        set_condition(&mut conditions, condition(ConditionStatus::False, "Conflict", "t2"));
        assert_eq!(conditions, [condition(ConditionStatus::False, "Conflict", "t1")]);
        set_condition(&mut conditions, condition(ConditionStatus::True, "Exported", "t3"));
        assert_eq!(conditions, [condition(ConditionStatus::True, "Exported", "t3")]);
    }
}
