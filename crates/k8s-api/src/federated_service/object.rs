//! FederatedService as the API server holds it.

use std::borrow::Cow;

use kube_core::ResourceExt;
use kube_derive::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::{API_VERSION, FederatedService, FederatedServiceSpec, FederatedServiceStatus, KIND};
use crate::Read;

/// The specification of an object from a cluster, as JSON.
///
/// Which schema the object passed when it was stored is unknown: the CRD may be older, or have been so once. A field of
/// another type would fail a typed list, and with it all services of the cluster; so reading never fails here, and
/// [`FederatedServiceObject::read`] says what is wrong with the one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, CustomResource)]
#[serde(transparent)]
#[allow(clippy::duplicated_attributes, reason = "several columns are of the same type, which the lint takes for a repetition")]
#[kube(
    group = "registry.cofide.io",
    version = "v1alpha1",
    kind = "FederatedService",
    root = "FederatedServiceObject",
    doc = "FederatedService exposes a workload to remote trust domains, whose workloads discover it and connect to it over mutual TLS.",
    namespaced,
    shortname = "fsvc",
    status = "UncheckedStatus",
    derive = "Default",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    printcolumn(name = "Hostname", type_ = "string", json_path = ".status.hostname", description = "Name by which remote clients connect"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.tlsMode", description = "Who terminates mutual TLS"),
    printcolumn(name = "Port", type_ = "integer", json_path = ".spec.port", description = "Port that the server listens on"),
    printcolumn(
        name = "Gateways",
        type_ = "string",
        json_path = ".status.gatewaySummary",
        description = "Where remote clients enter the cluster"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether every exported trust domain can use the service"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the service is ready, or not",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the object was created"
    )
)]
pub struct UncheckedSpec(pub Value);

/// The status of an object from a cluster, as JSON; for the same reason as [`UncheckedSpec`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct UncheckedStatus(pub Value);

macro_rules! unchecked {
    ($($json:ident has the schema of $typed:ty),*) => {$(
        impl<'de> Deserialize<'de> for $json {
            // By way of an option, because an absent field is no error either.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Option::<Value>::deserialize(deserializer).map(|value| Self(value.unwrap_or_default()))
            }
        }

        impl JsonSchema for $json {
            fn schema_name() -> Cow<'static, str> {
                <$typed>::schema_name()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$typed>::json_schema(generator)
            }
        }

        impl From<&$typed> for $json {
            fn from(typed: &$typed) -> Self {
                Self(json!(typed))
            }
        }
    )*};
}
unchecked!(UncheckedSpec has the schema of FederatedServiceSpec, UncheckedStatus has the schema of FederatedServiceStatus);

/// Fields that the first version of the CRD had. What they said follows from the cluster that the object is in.
const FORMER_FIELDS: [&str; 2] = ["clusterName", "trustDomain"];

impl FederatedServiceObject {
    /// The object as the tolerant reader sees it, which is the same for files and for clusters.
    pub fn read(&self) -> Read<FederatedService> {
        let mut spec = self.spec.0.clone();
        if let Value::Object(fields) = &mut spec {
            fields.retain(|field, _| !FORMER_FIELDS.contains(&field.as_str()));
        }
        FederatedService::read(&json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.name_any(),
                "namespace": self.namespace(),
                "labels": self.metadata.labels,
                "annotations": self.metadata.annotations,
                "generation": self.metadata.generation,
            },
            "spec": spec,
        }))
    }

    /// The status that was written last. What cannot be read counts as never written: the agent writes it anew.
    pub fn written_status(&self) -> FederatedServiceStatus {
        self.status.as_ref().and_then(|status| serde_json::from_value(status.0.clone()).ok()).unwrap_or_default()
    }
}
