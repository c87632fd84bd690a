//! What an API server's refusal means, and to whom.

use kube::Error;
use kube::core::ApiResource;

use crate::render::object::ObjectName;

/// What every refusal of an admission webhook says, whatever its code is.
const DENIED_BY_WEBHOOK: &str = "denied the request";

#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    /// Where there was nothing a moment ago.
    Create,
    Update,
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            // Server-side apply is a patch in either case.
            Self::Create | Self::Update => "patch",
            Self::Delete => "delete",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Trying again helps nothing until the object or another one of the cluster changes, which wakes.
    OfObject(String),
    /// All objects of the kind would meet it.
    OfKind(String),
    /// It goes by itself.
    Passing(String),
}

impl Failure {
    pub(super) fn new(error: &Error, verb: Verb, kind: &ApiResource, name: &ObjectName) -> Self {
        let Error::Api(status) = error else { return Self::Passing(format!("cannot {} {name}: {error}", verb.as_str())) };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let is_ending = causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating");
        match status.code {
            // The one refusal by rights that is about nobody's rights.
            403 if is_ending => Self::OfObject(format!("the namespace {} is being deleted", name.namespace)),
            // Nor is this: a webhook has looked at what is in the object.
            _ if status.message.contains(DENIED_BY_WEBHOOK) => Self::OfObject(format!("the API server refuses {name}: {}", status.message)),
            401 | 403 => Self::OfKind(forbidden(verb.as_str(), kind, &status.message)),
            409 if matches!(verb, Verb::Create) => Self::foreign(name),
            // An API server whose definitions are older or stricter than those at the time of writing.
            400 | 404 | 422 => Self::OfObject(format!("the API server refuses {name}: {}", status.message)),
            _ => Self::Passing(format!("cannot {} {name}: {}", verb.as_str(), status.message)),
        }
    }

    pub(super) fn foreign(name: &ObjectName) -> Self {
        Self::OfObject(format!("{name} exists and is not the agent's, so it is left as it is. Delete or rename it"))
    }
}

/// With the right that is missing.
pub(super) fn forbidden(verb: &str, kind: &ApiResource, message: &str) -> String {
    format!(
        "the agent may not {verb} {}.{}; give that to its service account, as the chart's ClusterRole does ({message})",
        kind.plural, kind.group
    )
}

pub(super) fn absent(kind: &ApiResource) -> String {
    let ApiResource { kind, group, .. } = kind;
    let part = if group.ends_with("istio.io") { "Istio" } else { "spire-controller-manager" };
    format!("the cluster does not have the kind {kind} ({group}); what needs it waits until {part} is installed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use serde_json::json;

    fn of(answer: serde_json::Value, verb: Verb) -> Failure {
        let error = Error::Api(Box::new(serde_json::from_value::<Status>(answer).unwrap()));
        let kind = cofide_k8s_api::istio::kinds().remove(0);
        Failure::new(&error, verb, &kind, &ObjectName { kind: "AuthorizationPolicy", namespace: "demo".into(), name: "a".into() })
    }

    #[test]
    fn a_conflict_over_a_new_object_is_somebody_elses_and_one_over_ours_passes() {
        assert!(matches!(of(json!({ "code": 409 }), Verb::Create), Failure::OfObject(text) if text.contains("is not the agent's")));
        assert!(matches!(of(json!({ "code": 409 }), Verb::Update), Failure::Passing(_)));
    }

    #[test]
    fn a_namespace_that_ends_is_no_missing_right() {
        assert!(
            matches!(of(json!({ "code": 403, "message": "no" }), Verb::Create), Failure::OfKind(text) if text.contains("may not patch authorizationpolicies.security.istio.io"))
        );
        let ending = json!({ "code": 403, "details": { "causes": [{ "reason": "NamespaceTerminating", "message": "", "field": "" }] } });
        assert!(matches!(of(ending, Verb::Create), Failure::OfObject(text) if text.contains("demo")));
    }

    #[test]
    fn what_a_webhook_says_about_an_object_is_about_that_object() {
        let denied = json!({ "code": 403, "message": "admission webhook \"v.kb.io\" denied the request: invalid template" });
        assert!(matches!(of(denied, Verb::Update), Failure::OfObject(text) if text.contains("invalid template")));
    }

    #[test]
    fn an_api_server_that_asks_for_patience_gets_it() {
        for code in [429, 500, 503] {
            assert!(matches!(of(json!({ "code": code }), Verb::Delete), Failure::Passing(_)));
        }
    }
}
