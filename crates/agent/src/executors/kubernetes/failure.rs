//! What an API server's refusal means, and to whom.

use kube::Error;
use kube::core::ApiResource;

use crate::render::istio::ObjectName;

#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Patch,
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Trying again helps nothing until the object or another one of the cluster changes, which wakes.
    OfService(String),
    /// All objects of the kind would meet it.
    OfKind(String),
    /// It goes by itself.
    Passing(String),
}

impl Failure {
    pub(super) fn new(error: &Error, verb: Verb, kind: &ApiResource, name: &ObjectName) -> Self {
        let Error::Api(status) = error else { return Self::Passing(format!("cannot {} {name}: {error}", verb.as_str())) };
        match status.code {
            401 | 403 => Self::OfKind(forbidden(verb.as_str(), kind, &status.message)),
            409 => Self::foreign(name),
            // An API server that is older or stricter than Istio's definitions at the time of writing.
            400 | 404 | 422 => Self::OfService(format!("the API server refuses {name}: {}", status.message)),
            _ => Self::Passing(format!("cannot {} {name}: {}", verb.as_str(), status.message)),
        }
    }

    pub(super) fn foreign(name: &ObjectName) -> Self {
        Self::OfService(format!("{name} exists and is not the agent's, so it is left as it is. Delete or rename it"))
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
    format!("the cluster does not have the kind {kind} ({group}); what needs it waits until Istio is installed")
}
