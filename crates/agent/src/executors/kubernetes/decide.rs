//! What to write and what to delete. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::live::{Live, Name, Ours};
use crate::render::istio::{IstioObject, KINDS, ObjectName, Side};

/// Everything that should be there, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) objects: BTreeMap<ObjectName, Arc<IstioObject>>,
    pub(super) known: Known,
    /// Of the plan whose imports these are; absent while they are not known.
    pub(super) plan_revision: Option<u64>,
    /// FederatedServices, by namespace and name, whose objects stay although none is wanted.
    pub(super) kept: BTreeSet<Name>,
}

/// Of which side it is known what is not wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) exports: bool,
    pub(super) imports: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Apply {
        object: Arc<IstioObject>,
        /// Whether it is there, and ours.
        ours: bool,
    },
    /// There is an object of somebody else in its place.
    Foreign {
        object: Arc<IstioObject>,
    },
    Delete {
        name: ObjectName,
        uid: String,
    },
}

/// What is to be done about one kind, of which `live` is everything that there is.
pub(super) fn decide(kind: &str, wanted: &Wanted, live: &BTreeMap<Name, Arc<Live>>) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut places = BTreeSet::new();
    for (name, object) in wanted.objects.iter().filter(|(name, _)| name.kind == kind) {
        let place = (name.namespace.clone(), name.name.clone());
        let object = object.clone();
        match live.get(&place).map(|live| live.ours()) {
            None => actions.push(Action::Apply { object, ours: false }),
            Some(None) => actions.push(Action::Foreign { object }),
            // It goes already; what replaces it comes after it has gone.
            Some(Some(there)) if there.is_going => {}
            Some(Some(there)) if !there.says(&object) => actions.push(Action::Apply { object, ours: true }),
            Some(Some(_)) => {}
        }
        places.insert(place);
    }
    // The same text, which lives as long as names do.
    let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else { return actions };
    for ((namespace, name), object) in live {
        let Some(there) = object.ours() else { continue };
        let place = (namespace.clone(), name.clone());
        if places.contains(&place) || there.is_going || !is_unwanted(there, wanted) {
            continue;
        }
        let name = ObjectName { kind, namespace: namespace.clone(), name: name.clone() };
        actions.push(Action::Delete { name, uid: object.uid.clone() });
    }
    actions
}

/// Whether it is known that nobody wants it. Of what has lost its labels nothing is known.
fn is_unwanted(there: &Ours, wanted: &Wanted) -> bool {
    let is_of = |side: Side| there.source.as_deref() == Some(side.as_str());
    if is_of(Side::Import) {
        return wanted.known.imports;
    }
    // One of a FederatedService that cannot be read now stays.
    is_of(Side::Export) && wanted.known.exports && there.owner.as_ref().is_none_or(|owner| !wanted.kept.contains(owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executors::kubernetes::live::Whose;
    use crate::render::istio::{OWNER_ANNOTATION, SOURCE_LABEL};
    use serde_json::{Value, json};

    fn object(name: &str, side: Side) -> (ObjectName, IstioObject) {
        let name = ObjectName { kind: "ServiceEntry", namespace: "demo".into(), name: name.into() };
        let labels = json!({ SOURCE_LABEL: side.as_str() });
        let json = json!({ "metadata": { "labels": labels }, "spec": { "hosts": [name.name] } });
        (name.clone(), IstioObject::of_json(name, side, "server.demo.a.test".parse().unwrap(), &json))
    }

    fn live(json: &Value) -> Live {
        Live { uid: "uid".into(), created: 0, whose: Whose::Ours(Ours::new(json)), hosts: vec![] }
    }

    fn wanted(objects: &[(ObjectName, IstioObject)]) -> Wanted {
        Wanted {
            objects: objects.iter().cloned().map(|(name, object)| (name, Arc::new(object))).collect(),
            known: Known { exports: true, imports: true },
            ..Wanted::default()
        }
    }

    fn cluster(objects: &[(&str, Live)]) -> BTreeMap<Name, Arc<Live>> {
        objects.iter().map(|(name, live)| (("demo".to_owned(), (*name).to_owned()), Arc::new(live.clone()))).collect()
    }

    fn words(actions: &[Action]) -> Vec<String> {
        let word = |action: &Action| match action {
            Action::Apply { object, ours } => format!("apply {} {ours}", object.name.name),
            Action::Foreign { object } => format!("foreign {}", object.name.name),
            Action::Delete { name, uid } => format!("delete {} {uid}", name.name),
        };
        actions.iter().map(word).collect()
    }

    #[test]
    fn only_a_difference_is_written() {
        let (same, changed, new) = (object("same", Side::Import), object("changed", Side::Import), object("new", Side::Import));
        let mut edited = changed.1.json();
        edited["spec"]["hosts"] = json!(["evil"]);
        let live = cluster(&[("same", live(&same.1.json())), ("changed", live(&edited))]);
        assert_eq!(words(&decide("ServiceEntry", &wanted(&[same, changed, new]), &live)), ["apply changed true", "apply new false"]);
    }

    #[test]
    fn what_was_as_it_should_be_is_written_once_something_else_is_wanted() {
        let (name, before) = object("a", Side::Import);
        let (hostname, mut json) = (before.hostname.clone(), before.json());
        let live = cluster(&[("a", live(&json))]);
        json["spec"]["hosts"] = json!(["b"]);
        let after = IstioObject::of_json(name.clone(), Side::Import, hostname, &json);
        let (before, after) = (wanted(&[(name.clone(), before)]), wanted(&[(name, after)]));
        for _ in 0..2 {
            assert_eq!(words(&decide("ServiceEntry", &before, &live)), [""; 0]);
            assert_eq!(words(&decide("ServiceEntry", &after, &live)), ["apply a true"]);
        }
    }

    #[test]
    fn what_is_not_ours_is_neither_written_nor_deleted() {
        let theirs = Live { whose: Whose::Others, ..live(&json!({})) };
        let live = cluster(&[("a", theirs.clone()), ("b", theirs)]);
        assert_eq!(words(&decide("ServiceEntry", &wanted(&[object("a", Side::Import)]), &live)), ["foreign a"]);
    }

    #[test]
    fn what_is_not_wanted_is_deleted_where_that_is_known() {
        let live = cluster(&[
            ("export", live(&object("export", Side::Export).1.json())),
            ("import", live(&object("import", Side::Import).1.json())),
        ]);
        let with = |exports, imports| Wanted { known: Known { exports, imports }, ..Wanted::default() };
        assert_eq!(words(&decide("ServiceEntry", &with(false, false), &live)), [""; 0]);
        assert_eq!(words(&decide("ServiceEntry", &with(true, false), &live)), ["delete export uid"]);
        assert_eq!(words(&decide("ServiceEntry", &with(false, true), &live)), ["delete import uid"]);
        // Of another kind, this says nothing.
        assert_eq!(words(&decide("Gateway", &with(true, true), &BTreeMap::new())), [""; 0]);
    }

    #[test]
    fn objects_of_a_service_that_cannot_be_read_now_stay() {
        let mut json = object("export", Side::Export).1.json();
        json["metadata"]["annotations"] = json!({ OWNER_ANNOTATION: "team/service" });
        let live = cluster(&[("export", live(&json))]);
        let kept = Wanted { kept: [("team".to_owned(), "service".to_owned())].into(), ..wanted(&[]) };
        assert_eq!(words(&decide("ServiceEntry", &kept, &live)), [""; 0]);
        assert_eq!(words(&decide("ServiceEntry", &wanted(&[]), &live)), ["delete export uid"]);
    }

    #[test]
    fn what_goes_already_is_left_to_go() {
        let (name, object) = object("a", Side::Import);
        let mut json = object.json();
        json["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let live = cluster(&[("a", live(&json))]);
        assert_eq!(words(&decide("ServiceEntry", &wanted(&[(name, object)]), &live)), [""; 0]);
        assert_eq!(words(&decide("ServiceEntry", &wanted(&[]), &live)), [""; 0]);
    }

    #[test]
    fn what_has_lost_its_labels_is_mended_while_it_is_wanted_and_left_afterwards() {
        let (name, object) = object("a", Side::Import);
        let live = cluster(&[("a", live(&json!({ "metadata": {}, "spec": object.json()["spec"] })))]);
        assert_eq!(words(&decide("ServiceEntry", &wanted(&[(name, object)]), &live)), ["apply a true"]);
        assert_eq!(words(&decide("ServiceEntry", &wanted(&[]), &live)), [""; 0]);
    }
}
