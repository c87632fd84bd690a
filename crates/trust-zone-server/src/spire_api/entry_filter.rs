//! Which entries a list or a count is about.

use std::collections::BTreeSet;

use cofide_api::spire::server::entry as api;
use cofide_api::spire::types;
use cofide_api::spire::types::federates_with_match::MatchBehavior as DomainMatch;
use cofide_api::spire::types::selector_match::MatchBehavior as SelectorMatch;
use cofide_core::{Selector, SpiffeId, TrustDomain};

use super::entry_proto::id_from_proto;
use super::{Failure, trust_domain_argument};
use crate::datastore::{Entry, check_selector, member_id, workload_id};

/// All that are set must match.
#[derive(Debug, Default)]
pub(super) struct EntryFilter {
    spiffe_id: Option<SpiffeId>,
    parent_id: Option<SpiffeId>,
    selectors: Option<SetMatch<Selector>>,
    federates_with: Option<SetMatch<TrustDomain>>,
    hint: Option<String>,
    /// Those that are for downstream servers alone; there is no filter for the others, as in SPIRE.
    downstream: bool,
}

#[derive(Debug)]
struct SetMatch<T> {
    set: BTreeSet<T>,
    behavior: Behavior,
}

/// How an entry's set relates to the filter's.
#[derive(Clone, Copy, Debug)]
enum Behavior {
    Exact,
    Subset,
    Superset,
    Any,
}

impl<T: Ord> SetMatch<T> {
    fn admits(&self, of_entry: &BTreeSet<T>) -> bool {
        match self.behavior {
            Behavior::Exact => *of_entry == self.set,
            // An entry with nothing is a subset of everything, which nobody means.
            Behavior::Subset => !of_entry.is_empty() && of_entry.is_subset(&self.set),
            Behavior::Superset => of_entry.is_superset(&self.set),
            Behavior::Any => !of_entry.is_disjoint(&self.set),
        }
    }
}

/// The filters of lists and counts have equal fields and different types.
struct Parts {
    by_spiffe_id: Option<types::Spiffeid>,
    by_parent_id: Option<types::Spiffeid>,
    by_selectors: Option<types::SelectorMatch>,
    by_federates_with: Option<types::FederatesWithMatch>,
    by_hint: Option<String>,
    by_downstream: Option<bool>,
}

macro_rules! parts_from {
    ($filter:ty) => {
        impl From<$filter> for Parts {
            fn from(filter: $filter) -> Self {
                Self {
                    by_spiffe_id: filter.by_spiffe_id,
                    by_parent_id: filter.by_parent_id,
                    by_selectors: filter.by_selectors,
                    by_federates_with: filter.by_federates_with,
                    by_hint: filter.by_hint,
                    by_downstream: filter.by_downstream,
                }
            }
        }
    };
}

parts_from!(api::list_entries_request::Filter);
parts_from!(api::count_entries_request::Filter);

impl EntryFilter {
    pub(super) fn list(trust_domain: &TrustDomain, filter: Option<api::list_entries_request::Filter>) -> Result<Self, Failure> {
        filter.map_or_else(|| Ok(Self::default()), |filter| Self::new(trust_domain, &filter.into()))
    }

    pub(super) fn count(trust_domain: &TrustDomain, filter: Option<api::count_entries_request::Filter>) -> Result<Self, Failure> {
        filter.map_or_else(|| Ok(Self::default()), |filter| Self::new(trust_domain, &filter.into()))
    }

    fn new(trust_domain: &TrustDomain, parts: &Parts) -> Result<Self, Failure> {
        let malformed = |what: &'static str| move |reason: String| Failure::invalid(format!("malformed {what} filter: {reason}"));
        let workload = |path: &str| workload_id(trust_domain, path);
        let parent = |path: &str| member_id(trust_domain, path);
        let spiffe_id = parts.by_spiffe_id.as_ref().map(|id| id_from_proto(trust_domain, Some(id), workload));
        let parent_id = parts.by_parent_id.as_ref().map(|id| id_from_proto(trust_domain, Some(id), parent));
        Ok(Self {
            spiffe_id: spiffe_id.transpose().map_err(malformed("SPIFFE ID"))?,
            parent_id: parent_id.transpose().map_err(malformed("parent ID"))?,
            selectors: parts.by_selectors.as_ref().map(selectors).transpose().map_err(malformed("selectors"))?,
            federates_with: parts.by_federates_with.as_ref().map(federates_with).transpose().map_err(malformed("federates with"))?,
            // SPIRE takes an empty hint for none.
            hint: parts.by_hint.clone().filter(|hint| !hint.is_empty()),
            downstream: parts.by_downstream == Some(true),
        })
    }

    pub(super) fn admits(&self, entry: &Entry) -> bool {
        self.spiffe_id.as_ref().is_none_or(|id| *id == entry.spiffe_id)
            && self.parent_id.as_ref().is_none_or(|id| *id == entry.parent_id)
            && self.selectors.as_ref().is_none_or(|selectors| selectors.admits(&entry.selectors))
            && self.federates_with.as_ref().is_none_or(|domains| domains.admits(&entry.federates_with))
            && self.hint.as_ref().is_none_or(|hint| *hint == entry.hint)
            && (!self.downstream || entry.downstream)
    }
}

fn selectors(filter: &types::SelectorMatch) -> Result<SetMatch<Selector>, String> {
    let set: BTreeSet<_> =
        filter.selectors.iter().map(|selector| check_selector(&selector.r#type, &selector.value)).collect::<Result<_, _>>()?;
    if set.is_empty() {
        return Err("empty selector set".into());
    }
    let behavior = match filter.r#match() {
        SelectorMatch::MatchExact => Behavior::Exact,
        SelectorMatch::MatchSubset => Behavior::Subset,
        SelectorMatch::MatchSuperset => Behavior::Superset,
        SelectorMatch::MatchAny => Behavior::Any,
    };
    Ok(SetMatch { set, behavior })
}

fn federates_with(filter: &types::FederatesWithMatch) -> Result<SetMatch<TrustDomain>, String> {
    let set: BTreeSet<_> = filter.trust_domains.iter().map(|name| trust_domain_argument(name)).collect::<Result<_, _>>()?;
    if set.is_empty() {
        return Err("empty trust domain set".into());
    }
    let behavior = match filter.r#match() {
        DomainMatch::MatchExact => Behavior::Exact,
        DomainMatch::MatchSubset => Behavior::Subset,
        DomainMatch::MatchSuperset => Behavior::Superset,
        DomainMatch::MatchAny => Behavior::Any,
    };
    Ok(SetMatch { set, behavior })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_ways_to_match_a_set() {
        let admits = |behavior, filter: &[u8], of_entry: &[u8]| {
            SetMatch { set: filter.iter().copied().collect(), behavior }.admits(&of_entry.iter().copied().collect())
        };
        let table: [(&[u8], &[u8], [bool; 4]); 6] = [
            // filter, entry, [exact, subset, superset, any]
            (&[1, 2], &[1, 2], [true, true, true, true]),
            (&[1, 2], &[1], [false, true, false, true]),
            (&[1, 2], &[1, 2, 3], [false, false, true, true]),
            (&[1, 2], &[2, 3], [false, false, false, true]),
            (&[1, 2], &[3], [false, false, false, false]),
            (&[1, 2], &[], [false, false, false, false]),
        ];
        for (filter, of_entry, expected) in table {
            let found =
                [Behavior::Exact, Behavior::Subset, Behavior::Superset, Behavior::Any].map(|behavior| admits(behavior, filter, of_entry));
            assert_eq!(found, expected, "{filter:?} {of_entry:?}");
        }
    }
}
