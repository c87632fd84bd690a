//! From a kubernetes policy to the pods that it describes. Pure.

use cofide_core::{KubernetesPolicy, LabelSelector, MatchExpression, TrustDomain, WorkloadRegistration};

use super::model::DesiredPods;
use super::template;
use crate::render::names::is_label_value;

/// As in charts of the field, and in the trust zone's own names.
const USUAL_PATH: &str = "ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}";
const LONGEST_LABEL: usize = 63;
const LONGEST_PREFIX: usize = 253;
/// SPIFFE-ID, section 2.3.
const LONGEST_SPIFFE_ID: usize = 2048;

/// The pods of one binding, in the trust domain `own`.
///
/// # Errors
///
/// The reason for which nobody could act on the policy.
pub(super) fn pods(own: &TrustDomain, registration: &WorkloadRegistration, policy: &KubernetesPolicy) -> Result<DesiredPods, String> {
    let path = policy.spiffe_id_path_template.as_deref().filter(|template| !template.is_empty()).unwrap_or(USUAL_PATH);
    let path = template::path(path).map_err(|error| format!("the SPIFFE ID path template {path:?}: {error}"))?;
    // The domain is written out: a controller of another trust domain refuses it, and says so.
    let spiffe_id_template = format!("spiffe://{own}/{path}");
    if spiffe_id_template.len() > LONGEST_SPIFFE_ID {
        return Err(format!("the SPIFFE ID path template has {} bytes, which is more than a SPIFFE ID may have", path.len()));
    }
    let dns_names = policy.dns_name_templates.iter().map(|name| {
        let checked = template::dns_name(name);
        checked.map_err(|error| format!("the DNS name template {name:?}: {error}"))
    });
    Ok(DesiredPods {
        binding: registration.binding_id.clone(),
        policy_name: registration.policy_name.clone(),
        namespace_selector: selector("namespace", policy.namespace_selector.as_ref())?,
        pod_selector: selector("pod", policy.pod_selector.as_ref())?,
        spiffe_id_template,
        dns_name_templates: dns_names.collect::<Result<_, _>>()?,
        federates_with: registration.federates_with.iter().cloned().collect(),
    })
}

/// One that is not given selects everything, as one without any requirement does.
fn selector(of: &str, selector: Option<&LabelSelector>) -> Result<LabelSelector, String> {
    let Some(selector) = selector else { return Ok(LabelSelector::default()) };
    let wrong = |what: &str, text: &str| Err(format!("the {of} selector: {text:?} is not a {what} of Kubernetes"));
    let values = selector.match_labels.values().chain(selector.match_expressions.iter().flat_map(|expression| &expression.values));
    for value in values {
        if !value.is_empty() && !is_name(value) {
            return wrong("label value", value);
        }
    }
    let keys = selector.match_labels.keys().chain(selector.match_expressions.iter().map(|expression| &expression.key));
    for key in keys {
        if !is_label_key(key) {
            return wrong("label key", key);
        }
    }
    for MatchExpression { key, operator, values } in &selector.match_expressions {
        match (operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => {}
            ("In" | "NotIn", true) => return Err(format!("the {of} selector: {operator} on {key} needs a value")),
            ("Exists" | "DoesNotExist", false) => return Err(format!("the {of} selector: {operator} on {key} takes no value")),
            _ => {
                let known = "In, NotIn, Exists or DoesNotExist";
                return Err(format!("the {of} selector: {operator:?} on {key} is no operator; use {known}"));
            }
        }
    }
    Ok(selector.clone())
}

fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => prefix.len() <= LONGEST_PREFIX && prefix.parse::<cofide_core::Hostname>().is_ok() && is_name(name),
        None => is_name(text),
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_label_value(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::PolicyKind;

    fn made(policy: &KubernetesPolicy) -> Result<DesiredPods, String> {
        let registration = WorkloadRegistration {
            binding_id: "b1".parse().unwrap(),
            policy_name: "pods".parse().unwrap(),
            kind: PolicyKind::Kubernetes(policy.clone()),
            federates_with: vec![TrustDomain::new("b.test").unwrap()],
        };
        pods(&TrustDomain::new("a.test").unwrap(), &registration, policy)
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> KubernetesPolicy {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        let expression = MatchExpression { key: key.to_owned(), operator: operator.to_owned(), values };
        let pod_selector = LabelSelector { match_expressions: vec![expression], ..LabelSelector::default() };
        KubernetesPolicy { pod_selector: Some(pod_selector), ..KubernetesPolicy::default() }
    }

    #[test]
    fn a_policy_without_a_template_gives_the_usual_identities() {
        let pods = made(&KubernetesPolicy::default()).unwrap();
        assert_eq!(pods.spiffe_id_template, "spiffe://a.test/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}");
        assert_eq!((pods.namespace_selector, pods.pod_selector), (LabelSelector::default(), LabelSelector::default()));
    }

    #[test]
    fn what_kubernetes_would_not_take_is_refused_with_its_reason() {
        for (policy, expected) in [
            (expression("app", "In", &[]), "In on app needs a value"),
            (expression("app", "Exists", &["x"]), "Exists on app takes no value"),
            (expression("app", "Gt", &["1"]), "\"Gt\" on app is no operator; use In, "),
            (expression("a b", "Exists", &[]), "\"a b\" is not a label key"),
            (expression("Example.com/app", "Exists", &[]), "is not a label key"),
            (expression("app", "In", &["-x"]), "\"-x\" is not a label value"),
        ] {
            let error = made(&policy).unwrap_err();
            assert!(error.starts_with("the pod selector: ") && error.contains(expected), "{error}");
        }
        assert!(made(&expression("example.com/app", "NotIn", &["", "x_y.z"])).is_ok());
        let bad = KubernetesPolicy { dns_name_templates: vec!["{{ .NodeMeta.Name }}".to_owned()], ..KubernetesPolicy::default() };
        assert!(made(&bad).unwrap_err().starts_with("the DNS name template \"{{ .NodeMeta.Name }}\": "));
    }
}
