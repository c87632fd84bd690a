//! The reference of FederatedService: prose from a template, tables from the schema.

use anyhow::{Context, bail};
use cofide_k8s_api::federated_service::crd;
use serde_json::Value;

const TEMPLATE: &str = include_str!("federated-service.md");

/// The page, from the definition in the chart.
pub(crate) fn federated_service() -> anyhow::Result<String> {
    let definition = serde_json::to_value(crd::definition())?;
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"]["properties"];
    let gateways = &schema["spec"]["properties"]["gateways"]["items"];
    let conditions = &schema["status"]["properties"]["conditions"]["items"];
    let page = TEMPLATE
        .replace("{{spec}}", &table(&schema["spec"], "spec.")?)
        .replace("{{gateways}}", &table(gateways, "spec.gateways[].")?)
        .replace("{{status}}", &table(&schema["status"], "status.")?)
        .replace("{{conditions}}", &table(conditions, "status.conditions[].")?)
        .replace("{{columns}}", &columns(&version["additionalPrinterColumns"])?);
    match page.find("{{") {
        Some(at) => bail!("the template asks for {:?}, which nothing gives", page[at..].lines().next()),
        None => Ok(page),
    }
}

fn table(schema: &Value, prefix: &str) -> anyhow::Result<String> {
    let mut text = String::from("| Field | Type | Required | Limits | Meaning |\n|---|---|---|---|---|\n");
    let fields = schema["properties"].as_object().with_context(|| format!("{prefix} has no fields"))?;
    for (name, field) in fields {
        let required = schema["required"].as_array().is_some_and(|required| required.iter().any(|field| field == name));
        let required = if required { "yes" } else { "" };
        let description = field["description"].as_str().unwrap_or_default();
        text += &format!("| `{prefix}{name}` | {} | {required} | {} | {description} |\n", type_of(field), limits(field).join("; "));
    }
    Ok(text)
}

fn type_of(schema: &Value) -> String {
    match schema["type"].as_str().unwrap_or_default() {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => format!("map of {}", type_of(&schema["additionalProperties"])),
        other => other.to_owned(),
    }
}

/// What the API server checks of one field, in words.
fn limits(schema: &Value) -> Vec<String> {
    let number = |keyword: &str| schema[keyword].as_f64();
    let between = |least: Option<f64>, most: Option<f64>, what: &str| match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{what}")),
        (Some(least), None) => Some(format!("at least {least}{what}")),
        (None, Some(most)) => Some(format!("at most {most}{what}")),
        (None, None) => None,
    };
    let mut limits = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        limits.push(values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or "));
    }
    limits.extend(between(number("minimum"), number("maximum"), ""));
    limits.extend(between(number("minLength"), number("maxLength"), " characters"));
    limits.extend(between(number("minItems"), number("maxItems"), " entries"));
    limits.extend(between(number("minProperties"), number("maxProperties"), " entries"));
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => limits.push("no entry twice".to_owned()),
        Some("map") => limits.push("one for each type".to_owned()),
        _ => {}
    }
    let rules = |schema: &Value| -> Vec<String> {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.filter_map(|rule| rule["message"].as_str()).map(str::to_owned).collect()
    };
    limits.extend(rules(schema));
    for inner in ["items", "additionalProperties"].map(|inner| &schema[inner]) {
        if inner["type"] == "string" {
            let inner = limits_of_entries(inner);
            limits.extend((!inner.is_empty()).then(|| format!("each: {inner}")));
        } else {
            limits.extend(rules(inner));
        }
    }
    limits
}

fn limits_of_entries(schema: &Value) -> String {
    limits(schema).join("; ")
}

fn columns(columns: &Value) -> anyhow::Result<String> {
    let mut text = String::from("| Column | Meaning |\n|---|---|\n");
    for column in columns.as_array().context("there are no printer columns")? {
        let wide = if column["priority"].as_i64().unwrap_or_default() > 0 { " (with `-o wide`)" } else { "" };
        let [name, description] = ["name", "description"].map(|field| column[field].as_str().unwrap_or_default());
        text += &format!("| {}{wide} | {description} |\n", name.to_uppercase());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_says_what_the_definition_says() {
        let found = std::fs::read_to_string(crate::root().join(crate::REFERENCE)).unwrap_or_default();
        assert!(found == super::federated_service().unwrap(), "{} is stale; run `make crd`", crate::REFERENCE);
    }
}
