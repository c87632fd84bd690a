//! `metav1.Condition`

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of an object's state.
// Kubernetes API conventions, "typical status properties"; forms and bounds are those of metav1.Condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect, as in Ready.
    #[serde(rename = "type")]
    #[schemars(length(max = 316), regex(pattern = TYPE_PATTERN))]
    pub kind: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// The metadata.generation that the condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When status last changed, in RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Why, in one word in CamelCase, for programs.
    #[schemars(length(min = 1, max = 1024), regex(pattern = REASON_PATTERN))]
    pub reason: String,
    /// Why, in a sentence, for people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

const TYPE_PATTERN: &str =
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
const REASON_PATTERN: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
