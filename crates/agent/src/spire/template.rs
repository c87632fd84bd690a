//! Templates of SPIFFE IDs and DNS names: which of them spire-controller-manager can be given. Pure.
//!
//! They are Go templates that run in a program which can issue every identity of the trust zone, and it tells what is wrong
//! with one to nobody but its log. So only expressions whose result is a name of the pod's own are let through; no function,
//! no pipeline, no control structure.

/// What a template may ask for, and what it could come to.
const NAMES: [&str; 3] = [".ClusterName", ".PodMeta.Namespace", ".PodSpec.ServiceAccountName"];
/// In a DNS name, which is no identity, the pod may call itself by its own name too.
const DNS_NAMES: [&str; 2] = [".PodMeta.Name", ".ClusterDomain"];
const MAPS: [&str; 2] = [".PodMeta.Labels", ".PodMeta.Annotations"];
/// For what is not known before there is a pod.
const STAND_IN: &str = "x";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{{{{ is not closed by }}}}")]
    Unclosed,
    #[error("}}}} without {{{{ before it")]
    Unopened,
    #[error("{{{{ {found} }}}} is not supported; use one of {}", .allowed.join(", "))]
    Expression { found: String, allowed: Vec<String> },
    #[error("{0}")]
    Outcome(String),
}

/// Checks the template of a SPIFFE ID's path, and gives it without a leading slash.
///
/// # Errors
///
/// An expression that is not let through, or a path that is none whatever the pod is.
pub fn path(template: &str) -> Result<String, TemplateError> {
    let template = template.strip_prefix('/').unwrap_or(template);
    let example = format!("/{}", with_stand_ins(template, &NAMES)?);
    if let Err(error) = example.parse::<cofide_core::SpiffeIdPath>() {
        return Err(TemplateError::Outcome(error.to_string()));
    }
    Ok(template.to_owned())
}

/// Checks the template of a DNS name.
///
/// # Errors
///
/// An expression that is not let through, or a name that is none whatever the pod is.
pub fn dns_name(template: &str) -> Result<String, TemplateError> {
    let example = with_stand_ins(template, &[&NAMES[..], &DNS_NAMES[..]].concat())?;
    match example.parse::<cofide_core::Hostname>() {
        Ok(_) => Ok(template.to_owned()),
        Err(error) => Err(TemplateError::Outcome(format!("the name {error}"))),
    }
}

/// The template with something in the place of each expression.
fn with_stand_ins(template: &str, names: &[&str]) -> Result<String, TemplateError> {
    let mut result = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, behind) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
        literal(before, &mut result)?;
        let expression = expression.trim();
        if !names.contains(&expression) && !is_index(expression) {
            let maps = MAPS.iter().map(|map| format!("index {map} \"key\""));
            let allowed = names.iter().map(ToString::to_string).chain(maps).collect();
            return Err(TemplateError::Expression { found: expression.to_owned(), allowed });
        }
        result.push_str(STAND_IN);
        rest = behind;
    }
    literal(rest, &mut result)?;
    Ok(result)
}

fn literal(text: &str, result: &mut String) -> Result<(), TemplateError> {
    if text.contains("}}") {
        return Err(TemplateError::Unopened);
    }
    result.push_str(text);
    Ok(())
}

/// Whether it is a label or an annotation by a constant key.
fn is_index(expression: &str) -> bool {
    let mut words = expression.split_ascii_whitespace();
    let (Some("index"), Some(map), Some(key), None) = (words.next(), words.next(), words.next(), words.next()) else { return false };
    let inner = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    let is_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'));
    MAPS.contains(&map) && inner.is_some_and(is_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_the_field_are_taken_as_they_are() {
        for template in [
            "ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}",
            "cluster/{{.ClusterName}}/ns/{{.PodMeta.Namespace}}",
            "app/{{ index .PodMeta.Labels \"app.kubernetes.io/name\" }}",
            "{{ index .PodMeta.Annotations \"team\" }}",
            "fixed/path",
        ] {
            assert_eq!(path(template).as_deref(), Ok(template));
            assert_eq!(path(&format!("/{template}")).as_deref(), Ok(template), "with or without a slash before it");
        }
        for template in ["{{ .PodMeta.Name }}.{{ .PodMeta.Namespace }}.svc", "{{ index .PodMeta.Labels \"app\" }}.example.com"] {
            assert_eq!(dns_name(template).as_deref(), Ok(template));
        }
    }

    #[test]
    fn what_is_more_than_a_name_of_the_pod_is_refused_with_what_is_possible() {
        for template in [
            "{{ .NodeMeta.UID }}",
            "{{ .PodMeta.Name }}",
            "{{ printf \"%s\" .PodMeta.Namespace }}",
            "{{ .PodMeta.Namespace | js }}",
            "{{ range .PodSpec.Containers }}x{{ end }}",
            "{{ index .PodMeta.Labels (index .PodMeta.Labels \"a\") }}",
            "{{ index .PodMeta.Labels \"a\" \"b\" }}",
            "{{ index .PodMeta.Labels \"a\\\"\" }}",
            "{{/* a comment */}}",
            "{{- .PodMeta.Namespace -}}",
            "{{}}",
        ] {
            let error = path(template).expect_err(template);
            assert!(matches!(&error, TemplateError::Expression { .. }), "{template}: {error}");
            assert!(error.to_string().contains("is not supported; use one of .ClusterName, "), "{error}");
        }
    }

    #[test]
    fn what_is_no_path_whatever_the_pod_is_is_refused() {
        assert_eq!(path("ns/{{ .PodMeta.Namespace"), Err(TemplateError::Unclosed));
        assert_eq!(path("ns/}}/{{ .ClusterName }}"), Err(TemplateError::Unopened));
        for template in ["", "/", "ns//x", "ns/", "ns/../x", "ns/ä", "a b", "//x"] {
            assert!(matches!(path(template), Err(TemplateError::Outcome(_))), "{template}: {:?}", path(template));
        }
        for template in ["", "a..b", "*.example.com", "A.example.com"] {
            assert!(matches!(dns_name(template), Err(TemplateError::Outcome(_))), "{template}: {:?}", dns_name(template));
        }
    }
}
