//! The definition in the chart is the one that the types make, and one that an API server takes.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;

use cofide_k8s_api::federated_service::crd;
use serde_json::Value;

fn schema() -> Value {
    let definition = serde_json::to_value(crd::definition()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// All schemas within a schema, each with its path.
fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), see);
    }
    for (inner, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[inner].is_object() {
            walk(&schema[inner], &format!("{path}{suffix}"), see);
        }
    }
}

#[test]
fn the_chart_holds_the_definition_that_the_types_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/cofide-agent/crds/federatedservices.registry.cofide.io.yaml");
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == crd::yaml(), "{path} is not what the types make; run `make crd`");
}

#[test]
fn the_text_says_what_the_definition_says() {
    let read: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
        serde_saphyr::from_str(&crd::yaml()).unwrap();
    assert_eq!(read, crd::definition());
    assert_eq!(read.metadata.name.as_deref(), Some(crd::NAME));
}

/// Kubernetes, "specifying a structural schema": a type at every level, nothing of logic outside of CEL.
#[test]
fn the_schema_is_structural_and_without_defaults() {
    walk(&schema(), "", &mut |path, schema| {
        let type_ = schema["type"].as_str().unwrap_or_default();
        assert!(["object", "array", "string", "integer"].contains(&type_), "{path}: {schema}");
        for keyword in ["default", "nullable", "title", "anyOf", "oneOf", "allOf", "not", "$ref", "x-kubernetes-preserve-unknown-fields"] {
            assert!(schema.get(keyword).is_none(), "{path} has {keyword}");
        }
    });
}

#[test]
fn kubectl_explains_every_field() {
    let mut fields = BTreeSet::new();
    walk(&schema(), "", &mut |path, schema| {
        let entry_of_texts = path.ends_with(['}', ']']) && schema["type"] == "string";
        if !entry_of_texts {
            let description = schema["description"].as_str().unwrap_or_default();
            assert!(description.len() > 15 && description.ends_with('.'), "{path}: {description:?}");
            assert!(!description.contains(['`', '[']), "{path} is described for Rust: {description}");
            fields.insert(path.to_owned());
        }
    });
    assert!(fields.contains(".spec.spiffeIDPaths") && fields.contains(".status.conditions[].observedGeneration"), "{fields:#?}");
}

#[test]
fn what_the_documentation_requires_is_required() {
    let schema = schema();
    let required = |schema: &Value| schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let found: BTreeSet<String> = required(&schema["properties"]["spec"]);
    let expected = ["name", "namespace", "exportedTrustDomains", "workloadLabels", "port", "tlsMode"];
    assert_eq!(found, expected.map(str::to_owned).into());
    let found: BTreeSet<String> = required(&schema["properties"]["spec"]["properties"]["gateways"]["items"]);
    assert_eq!(found, ["type", "port"].map(str::to_owned).into());
    assert_eq!(required(&schema), BTreeSet::from(["spec".to_owned()]));
}

/// Without bounds the API server takes the worst for what a rule costs, and refuses the definition.
#[test]
fn every_rule_is_about_something_bounded() {
    fn check(schema: &Value, bounded: bool, path: &str, rules: &mut usize) {
        if schema.get("x-kubernetes-validations").is_some() {
            *rules += 1;
            assert!(bounded, "{path} has a rule inside of something without a bound");
            assert!(schema["type"] != "string" || schema.get("maxLength").is_some(), "{path} has a rule about a text without a bound");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            check(property, bounded, &format!("{path}.{name}"), rules);
        }
        if schema["items"].is_object() {
            check(&schema["items"], bounded && schema.get("maxItems").is_some(), &format!("{path}[]"), rules);
        }
        if schema["additionalProperties"].is_object() {
            check(&schema["additionalProperties"], bounded && schema.get("maxProperties").is_some(), &format!("{path}{{}}"), rules);
        }
    }
    let mut rules = 0;
    check(&schema(), true, "", &mut rules);
    assert!(rules >= 8, "{rules} rules were found");
}
