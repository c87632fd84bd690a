//! The part of `metav1.ObjectMeta` that means something to us.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Problem;
use crate::fields::Field;

/// Metadata of an object; fields that are not here are read over and not written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    pub name: String,
    /// `default` where the object names none.
    pub namespace: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

impl Field for ObjectMeta {
    // Kubernetes knows many more fields and adds to them, so an unknown one is no mistake.
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        let Value::Object(map) = value else {
            problems.push(Problem::new(path, "must be a map with name and namespace"));
            return Self::default();
        };
        fn get<T: Field>(map: &serde_json::Map<String, Value>, path: &str, field: &str, problems: &mut Vec<Problem>) -> T {
            match map.get(field) {
                None | Some(Value::Null) => T::default(),
                Some(value) => T::read(value, &format!("{path}.{field}"), problems),
            }
        }
        Self {
            name: get(map, path, "name", problems),
            namespace: get::<Option<String>>(map, path, "namespace", problems).unwrap_or_else(|| "default".to_owned()),
            labels: get(map, path, "labels", problems),
            annotations: get(map, path, "annotations", problems),
            generation: get(map, path, "generation", problems),
        }
    }
}

impl ObjectMeta {
    /// A Kubernetes object's name is a DNS subdomain, its namespace a DNS label.
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if self.name.is_empty() {
            problems.push(Problem::new("metadata.name", "must be set").remedy("give the object a name of its own"));
        } else if let Err(error) = self.name.parse::<cofide_core::Hostname>() {
            problems.push(Problem::new("metadata.name", error));
        }
        // An object that was read has a namespace; one that was built may not.
        if !self.namespace.is_empty()
            && let Err(error) = self.namespace.parse::<cofide_core::DnsLabel>()
        {
            problems.push(Problem::new("metadata.namespace", error));
        }
    }
}
