//! The CustomResourceDefinition, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube_core::CustomResourceExt;
use serde_json::Value;

use super::FederatedServiceObject;

pub const NAME: &str = "federatedservices.registry.cofide.io";

/// The definition as it is installed.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = FederatedServiceObject::crd();
    for version in &mut definition.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut()) {
            tidy(schema);
            if let Some(entries) = property(schema, "status").and_then(|status| property(status, "gatewayEntries")) {
                // What the agent writes was checked by its types; and here is no bound for the cost of a rule, as a cluster
                // has as many addresses as it has nodes.
                each(entries, &mut |schema| schema.x_kubernetes_validations = None);
            }
        }
    }
    definition
}

/// The text of the file in the chart.
pub fn yaml() -> String {
    let mut definition = serde_json::to_value(definition()).expect("a definition is made of texts, numbers, lists and maps");
    whole_numbers(&mut definition);
    let text = serde_saphyr::to_string(&definition).expect("JSON can be written as YAML");
    format!("# Made from crates/k8s-api by `make crd`; a test compares the two.\n{text}")
}

/// Takes out what serde's attributes say to schemars and is not meant for users: there are no defaults, absent is the
/// only way to say nothing, and the title is a type's name. Line ends of comments mean nothing either.
fn tidy(schema: &mut JSONSchemaProps) {
    each(schema, &mut |schema| {
        schema.default = None;
        schema.nullable = None;
        schema.title = None;
        if let Some(description) = &mut schema.description {
            *description = description.replace('\n', " ");
        }
    });
}

fn property<'s>(schema: &'s mut JSONSchemaProps, name: &str) -> Option<&'s mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}

fn each(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        each(property, change);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        each(items, change);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        each(values, change);
    }
}

/// The Kubernetes types hold every bound as a float; `1.0` for a port is right, but nobody writes it.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            // Bounds of ports and generations, far below where a float leaves out whole numbers.
            if let Some(float) = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0) {
                *value = Value::from(float as i64);
            }
        }
        _ => {}
    }
}
