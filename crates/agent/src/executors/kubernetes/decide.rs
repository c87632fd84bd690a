//! What to write and what to delete. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::live::{Live, Name, Ours};
use crate::render::object::{ObjectName, RenderedObject};

/// Everything that should be there, as far as it is known.
pub(super) type Objects<O> = BTreeMap<ObjectName, Arc<O>>;

/// Whether it is known that nobody wants an object of ours that is not among the wanted ones.
pub(super) type IsUnwanted<'a> = &'a (dyn Fn(&Ours) -> bool + Sync);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action<O> {
    Apply {
        object: Arc<O>,
        /// Whether it is there, and ours.
        ours: bool,
    },
    /// There is an object of somebody else in its place.
    Foreign {
        object: Arc<O>,
    },
    Delete {
        name: ObjectName,
        uid: String,
    },
}

/// What is to be done about one kind, of which `live` is everything that there is.
pub(super) fn decide<O: RenderedObject>(
    kind: &'static str,
    wanted: &Objects<O>,
    is_unwanted: IsUnwanted<'_>,
    live: &BTreeMap<Name, Arc<Live>>,
) -> Vec<Action<O>> {
    let mut actions = Vec::new();
    let first = ObjectName { kind, namespace: String::new(), name: String::new() };
    let mut wanted = wanted.range(first..).take_while(|(name, _)| name.kind == kind).peekable();
    let mut live = live.iter().peekable();
    // Both are sorted by namespace and name.
    loop {
        let place = |name: &ObjectName, (namespace, there): &Name| (&name.namespace, &name.name).cmp(&(namespace, there));
        let order = match (wanted.peek(), live.peek()) {
            (Some((name, _)), Some((there, _))) => place(name, there),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return actions,
        };
        let object = wanted.next_if(|_| order != Ordering::Greater).map(|(_, object)| object.clone());
        let there = live.next_if(|_| order != Ordering::Less);
        match (object, there) {
            (Some(object), None) => actions.push(Action::Apply { object, ours: false }),
            (Some(object), Some((_, there))) => match there.ours() {
                None => actions.push(Action::Foreign { object }),
                // It goes already; what replaces it comes after it has gone.
                Some(there) if there.is_going => {}
                Some(there) if !there.says(&*object) => actions.push(Action::Apply { object, ours: true }),
                Some(_) => {}
            },
            (None, Some(((namespace, name), object))) => {
                if object.ours().is_some_and(|there| !there.is_going && is_unwanted(there)) {
                    let name = ObjectName { kind, namespace: namespace.clone(), name: name.clone() };
                    actions.push(Action::Delete { name, uid: object.uid.clone() });
                }
            }
            (None, None) => return actions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executors::kubernetes::live::Whose;
    use serde_json::{Value, json};

    #[derive(Debug)]
    struct Object(ObjectName, Arc<str>);

    impl RenderedObject for Object {
        fn name(&self) -> &ObjectName {
            &self.0
        }
        fn text(&self) -> &Arc<str> {
            &self.1
        }
    }

    fn object(name: &str) -> Object {
        let labels = json!({ "mark": "us" });
        let json = json!({ "metadata": { "labels": labels }, "spec": { "hosts": [name] } });
        of_json(name, &json)
    }

    fn of_json(name: &str, json: &Value) -> Object {
        Object(ObjectName { kind: "ServiceEntry", namespace: "demo".into(), name: name.into() }, json.to_string().into())
    }

    fn live(json: &Value) -> Live {
        Live { uid: "uid".into(), created: 0, whose: Whose::Ours(Ours::new(json)), claims: vec![], status: Value::Null, status_time: None }
    }

    fn cluster(objects: &[(&str, Live)]) -> BTreeMap<Name, Arc<Live>> {
        objects.iter().map(|(name, live)| (("demo".to_owned(), (*name).to_owned()), Arc::new(live.clone()))).collect()
    }

    fn decided(wanted: Vec<Object>, is_unwanted: IsUnwanted<'_>, live: &BTreeMap<Name, Arc<Live>>) -> Vec<String> {
        let wanted = wanted.into_iter().map(|object| (object.0.clone(), Arc::new(object))).collect();
        let word = |action: &Action<Object>| match action {
            Action::Apply { object, ours } => format!("apply {} {ours}", object.0.name),
            Action::Foreign { object } => format!("foreign {}", object.0.name),
            Action::Delete { name, uid } => format!("delete {} {uid}", name.name),
        };
        decide("ServiceEntry", &wanted, is_unwanted, live).iter().map(word).collect()
    }

    const YES: IsUnwanted<'static> = &|_| true;

    #[test]
    fn only_a_difference_is_written() {
        let mut edited = object("changed").json();
        edited["spec"]["hosts"] = json!(["evil"]);
        let live = cluster(&[("same", live(&object("same").json())), ("changed", live(&edited))]);
        let wanted = vec![object("same"), object("changed"), object("new")];
        assert_eq!(decided(wanted, YES, &live), ["apply changed true", "apply new false"]);
    }

    #[test]
    fn what_was_as_it_should_be_is_written_once_something_else_is_wanted() {
        let mut json = object("a").json();
        let live = cluster(&[("a", live(&json))]);
        json["spec"]["hosts"] = json!(["b"]);
        for _ in 0..2 {
            assert_eq!(decided(vec![object("a")], YES, &live), [""; 0]);
            assert_eq!(decided(vec![of_json("a", &json)], YES, &live), ["apply a true"]);
        }
    }

    #[test]
    fn what_is_not_ours_is_neither_written_nor_deleted() {
        let theirs = Live { whose: Whose::Others, ..live(&json!({})) };
        let live = cluster(&[("a", theirs.clone()), ("b", theirs)]);
        assert_eq!(decided(vec![object("a")], YES, &live), ["foreign a"]);
    }

    #[test]
    fn what_is_not_wanted_is_deleted_where_that_is_known() {
        let live = cluster(&[("a", live(&object("a").json())), ("b", live(&object("b").json()))]);
        assert_eq!(decided(vec![], &|_| false, &live), [""; 0]);
        assert_eq!(decided(vec![], &|there| there.json()["spec"]["hosts"] == json!(["b"]), &live), ["delete b uid"]);
    }

    #[test]
    fn each_object_is_compared_with_the_one_of_its_namespace_and_kind() {
        let at = |namespace: &str, name: &str| {
            let Object(of, text) = object(name);
            Object(ObjectName { namespace: namespace.into(), ..of }, text)
        };
        let name = |object: &Object| (object.0.namespace.clone(), object.0.name.clone());
        let there = [at("a", "z"), at("b", "x"), at("c", "a"), at("c", "y")];
        let live = there.iter().map(|object| (name(object), Arc::new(live(&object.json())))).collect();
        let mut wanted = vec![at("a", "y"), at("b", "x"), at("c", "b"), at("c", "y")];
        for kind in ["Gateway", "VirtualService"] {
            let Object(of, text) = at("c", "z");
            wanted.push(Object(ObjectName { kind, ..of }, text));
        }
        assert_eq!(decided(wanted, YES, &live), ["apply y false", "delete z uid", "delete a uid", "apply b false"]);
    }

    #[test]
    fn what_goes_already_is_left_to_go() {
        let mut json = object("a").json();
        json["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let live = cluster(&[("a", live(&json))]);
        assert_eq!(decided(vec![object("a")], YES, &live), [""; 0]);
        assert_eq!(decided(vec![], YES, &live), [""; 0]);
    }

    #[test]
    fn what_has_lost_its_labels_is_mended_while_it_is_wanted() {
        let live = cluster(&[("a", live(&json!({ "metadata": {}, "spec": object("a").json()["spec"] })))]);
        assert_eq!(decided(vec![object("a")], YES, &live), ["apply a true"]);
    }
}
