//! Make before break: in which order the parts of one change reach a client.
//!
//! A listener must not point to a cluster that its Envoy has not got yet, and a cluster must not go while a listener
//! still points to it. So what is new or changed goes out clusters first, then endpoints, listeners and routes; what is
//! removed goes out the other way round, after all that ("Eventual consistency considerations" in the protocol).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Resource;

/// What one type of resource has for a client at one moment.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) set: Vec<Arc<Resource>>,
    pub(crate) removed: Vec<String>,
    /// Whether the client waits for a response even if nothing is in it.
    pub(crate) owed: bool,
}

/// One response, to be sent when the one before it was acknowledged.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) type_url: Arc<str>,
    pub(crate) difference: Difference,
}

/// Splits differences, given in the order of the types' ranks, into the steps that deliver them safely.
pub(crate) fn steps(differences: Vec<(Arc<str>, Difference)>) -> VecDeque<Step> {
    let mut steps: VecDeque<Step> = VecDeque::new();
    let mut removals = Vec::new();
    for (type_url, Difference { set, removed, owed }) in differences {
        if !removed.is_empty() {
            removals.push((type_url.clone(), removed));
        }
        if owed || !set.is_empty() {
            steps.push_back(Step { type_url, difference: Difference { set, removed: Vec::new(), owed } });
        }
    }
    for (type_url, removed) in removals.into_iter().rev() {
        match steps.back_mut() {
            // Nothing is sent between the two, so they can go together.
            Some(last) if last.type_url == type_url => last.difference.removed = removed,
            _ => steps.push_back(Step { type_url, difference: Difference { removed, ..Difference::default() } }),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+`, `-` and `±` per type, as in `C+ L± C-`.
    fn order_of(parts: &[(&str, usize, usize)]) -> String {
        let resource = || Arc::new(Resource::new("t", "n", &String::new()));
        let differences = parts.iter().map(|(type_url, set, removed)| {
            let set = std::iter::repeat_with(resource).take(*set).collect();
            (Arc::from(*type_url), Difference { set, removed: vec![String::new(); *removed], owed: false })
        });
        let printed = steps(differences.collect()).into_iter().map(|step| {
            let sign = match (step.difference.set.is_empty(), step.difference.removed.is_empty()) {
                (false, true) => '+',
                (true, false) => '-',
                (false, false) => '±',
                (true, true) => '0',
            };
            format!("{}{sign}", step.type_url)
        });
        printed.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn additions_come_first_and_removals_last_in_reverse() {
        assert_eq!(order_of(&[("C", 1, 0), ("E", 1, 0), ("L", 1, 0), ("R", 1, 0)]), "C+ E+ L+ R+");
        assert_eq!(order_of(&[("C", 0, 1), ("E", 0, 1), ("L", 0, 1), ("R", 0, 1)]), "R- L- E- C-");
        assert_eq!(order_of(&[("C", 1, 1), ("E", 1, 1), ("L", 1, 1)]), "C+ E+ L± E- C-");
        assert_eq!(order_of(&[("C", 1, 1), ("L", 0, 1)]), "C+ L- C-");
        assert_eq!(order_of(&[("C", 1, 1)]), "C±");
        assert_eq!(order_of(&[("C", 1, 0), ("L", 0, 1)]), "C+ L-");
        assert_eq!(order_of(&[]), "");
    }

    #[test]
    fn an_owed_answer_is_a_step_of_its_own() {
        let owed = Difference { owed: true, ..Difference::default() };
        assert_eq!(steps(vec![("C".into(), owed)]).len(), 1);
        assert_eq!(steps(vec![("C".into(), Difference::default())]).len(), 0);
    }
}
