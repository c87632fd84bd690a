//! What istiod's Deployment says of its environment. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, EnvVar};

use super::Sight;

/// Whether sidecars take certificates of other trust domains than the mesh's own without asking which.
pub const SKIP_VALIDATION: &str = "PILOT_SKIP_VALIDATE_TRUST_DOMAIN";
/// A second ConfigMap from which istiod reads settings.
pub const SHARED_MESH_CONFIG: &str = "SHARED_MESH_CONFIG";
/// The container's name in Istio's chart.
pub const CONTAINER: &str = "discovery";

/// What matters of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Istiod {
    /// The value of [`SKIP_VALIDATION`]; absent where it is not set.
    pub skip_validation: Sight<Option<String>>,
    /// The value of [`SHARED_MESH_CONFIG`]; absent where there is none.
    pub shared_mesh_config: Sight<Option<String>>,
}

impl Istiod {
    pub fn unknown(reason: &str) -> Self {
        Self { skip_validation: Sight::Unknown(reason.to_owned()), shared_mesh_config: Sight::Unknown(reason.to_owned()) }
    }

    pub fn of(deployment: &Deployment) -> Self {
        let containers = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).map_or(&[][..], |pod| &pod.containers);
        let container = match containers {
            [only] => Some(only),
            several => several.iter().find(|container| container.name == CONTAINER),
        };
        let Some(container) = container else {
            return Self::unknown(&format!("none of its containers is called {CONTAINER}"));
        };
        Self { skip_validation: variable(container, SKIP_VALIDATION), shared_mesh_config: variable(container, SHARED_MESH_CONFIG) }
    }
}

/// As the container gets it: the last of the same name counts, and the list before what is taken from elsewhere.
fn variable(container: &Container, name: &str) -> Sight<Option<String>> {
    let listed = container.env.iter().flatten().rfind(|variable| variable.name == name);
    match listed {
        Some(EnvVar { value_from: Some(_), .. }) => {
            Sight::Unknown(format!("{name} is taken from another object, which the agent does not read"))
        }
        Some(EnvVar { value, .. }) => Sight::Seen(Some(value.clone().unwrap_or_default())),
        None if container.env_from.iter().flatten().next().is_some() => {
            Sight::Unknown(format!("{name} may be in one of the objects that envFrom names, which the agent does not read"))
        }
        None => Sight::Seen(None),
    }
}

/// As istiod reads it: what is neither true nor false counts as not set.
pub fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(containers: &Value) -> Istiod {
        let template = json!({ "spec": { "containers": containers } });
        Istiod::of(&serde_json::from_value(json!({ "spec": { "selector": {}, "template": template } })).unwrap())
    }

    fn with(container: Value) -> Sight<Option<String>> {
        let mut container = container;
        container["name"] = json!("discovery");
        of(&json!([container, { "name": "istio-proxy" }])).skip_validation
    }

    #[test]
    fn what_is_set_is_seen_and_what_comes_from_elsewhere_is_not_known() {
        let skip = |value: &Value| json!({ "name": SKIP_VALIDATION, "value": value });
        assert_eq!(with(json!({})), Sight::Seen(None));
        assert_eq!(with(json!({ "env": [skip(&json!("true"))] })), Sight::Seen(Some("true".to_owned())));
        let twice = json!({ "env": [skip(&json!("true")), skip(&json!("false"))], "envFrom": [{ "configMapRef": { "name": "a" } }] });
        assert_eq!(with(twice), Sight::Seen(Some("false".to_owned())), "the last one counts, and the list before envFrom");
        let from = json!({ "env": [{ "name": SKIP_VALIDATION, "valueFrom": { "configMapKeyRef": { "name": "a", "key": "b" } } }] });
        for elsewhere in [from, json!({ "envFrom": [{ "configMapRef": { "name": "a" } }] })] {
            assert!(matches!(with(elsewhere), Sight::Unknown(_)));
        }
    }

    #[test]
    fn istiod_is_found_among_containers_by_its_name_and_alone_by_being_there() {
        assert!(
            matches!(of(&json!([{ "name": "a" }, { "name": "b" }])).skip_validation, Sight::Unknown(reason) if reason.contains("discovery"))
        );
        assert_eq!(of(&json!([{ "name": "pilot" }])).skip_validation, Sight::Seen(None));
        assert!(matches!(of(&json!([])).shared_mesh_config, Sight::Unknown(_)));
    }

    #[test]
    fn a_flag_is_read_as_istiod_reads_it() {
        assert!(["true", "True", "TRUE", "1", "t"].into_iter().all(is_true));
        assert!(!["", "false", "yes", "on", "0", "tRUE"].into_iter().any(is_true));
    }
}
