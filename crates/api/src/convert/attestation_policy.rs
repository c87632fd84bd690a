//! `proto.attestation_policy.v1alpha1`

use cofide_core::{
    AttestationPolicy, AttestationPolicyId, Hostname, KubernetesPolicy, LabelSelector, MatchExpression, Name, OrganizationId, PolicyKind,
    Selector, SpiffeId, SpiffeIdPath, StaticPolicy, TpmNodePolicy, TrustZoneId,
};

use super::{At, FieldError, also_owned, each, optional, optional_text, parse, required, required_timestamp, timestamp};
use crate::spire::types::Selector as ProtoSelector;
use crate::types::attestation_policy as proto;

/// What a client may say about an attestation policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<AttestationPolicyId>,
    pub organization_id: Option<OrganizationId>,
    pub name: Name,
    pub trust_zone_id: Option<TrustZoneId>,
    pub federations: Vec<TrustZoneId>,
    pub kind: PolicyKind,
}

impl TryFrom<&proto::AttestationPolicy> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::AttestationPolicy) -> Result<Self, FieldError> {
        let draft = draft(message).and_then(|draft| check_selectors(&draft.kind).at("static").map(|()| draft));
        draft.at("attestation_policy")
    }
}

/// Of what a client says, and not of what is stored: a policy from before a rule stays readable.
fn check_selectors(kind: &PolicyKind) -> Result<(), FieldError> {
    let PolicyKind::Static(policy) = kind else { return Ok(()) };
    each("selectors", &policy.selectors, |selector| selector.check().map_err(|error| FieldError::new("value", error))).map(drop)
}

fn draft(message: &proto::AttestationPolicy) -> Result<Draft, FieldError> {
    let kind = match &message.policy {
        Some(proto::attestation_policy::Policy::Kubernetes(policy)) => kubernetes(policy).at("kubernetes")?,
        Some(proto::attestation_policy::Policy::Static(policy)) => static_policy(policy).at("static")?,
        Some(proto::attestation_policy::Policy::TpmNode(policy)) => tpm_node(policy).at("tpm_node")?,
        None => return Err(FieldError::new("policy", "one of kubernetes, static and tpm_node must be set")),
    };
    Ok(Draft {
        id: optional("id", message.id.as_deref())?,
        organization_id: optional("org_id", message.org_id.as_deref())?,
        name: parse("name", &message.name)?,
        trust_zone_id: optional("trust_zone_id", Some(&message.trust_zone_id))?,
        federations: each("federations", &message.federations, |partner| required("trust_zone_id", partner.trust_zone_id.as_deref()))?,
        kind,
    })
}

pub(super) fn kubernetes(message: &proto::ApKubernetes) -> Result<PolicyKind, FieldError> {
    let selector = |field, message: Option<&proto::ApLabelSelector>| message.map(|message| label_selector(message).at(field)).transpose();
    let template = optional_text(message.spiffe_id_path_template.as_deref());
    if template.is_some_and(|template| template.starts_with('/') || template.contains("://")) {
        return Err(FieldError::new(
            "spiffe_id_path_template",
            "must be a path without a leading slash, as in ns/{{ .PodMeta.Namespace }}",
        ));
    }
    Ok(PolicyKind::Kubernetes(KubernetesPolicy {
        namespace_selector: selector("namespace_selector", message.namespace_selector.as_ref())?,
        pod_selector: selector("pod_selector", message.pod_selector.as_ref())?,
        dns_name_templates: each("dns_name_templates", &message.dns_name_templates, |template| text("", template))?,
        spiffe_id_path_template: template.map(str::to_owned),
    }))
}

fn text(field: &str, text: &str) -> Result<String, FieldError> {
    if text.is_empty() { Err(FieldError::new(field, "must not be empty")) } else { Ok(text.to_owned()) }
}

fn label_selector(message: &proto::ApLabelSelector) -> Result<LabelSelector, FieldError> {
    Ok(LabelSelector {
        match_labels: message.match_labels.clone(),
        match_expressions: each("match_expressions", &message.match_expressions, match_expression)?,
    })
}

fn match_expression(message: &proto::ApMatchExpression) -> Result<MatchExpression, FieldError> {
    let values = &message.values;
    match message.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => Err(FieldError::new("values", format!("{} needs at least one", message.operator))),
        "Exists" | "DoesNotExist" if !values.is_empty() => Err(FieldError::new("values", format!("{} takes none", message.operator))),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {
            Ok(MatchExpression { key: text("key", &message.key)?, operator: message.operator.clone(), values: values.clone() })
        }
        other => Err(FieldError::new("operator", format!("unknown operator {other:?}; use In, NotIn, Exists or DoesNotExist"))),
    }
}

pub(super) fn static_policy(message: &proto::ApStatic) -> Result<PolicyKind, FieldError> {
    if message.selectors.is_empty() {
        return Err(FieldError::new("selectors", "must not be empty: the policy would match every process"));
    }
    Ok(PolicyKind::Static(StaticPolicy {
        spiffe_id_path: static_spiffe_id_path(message)?,
        parent_id_path: required::<SpiffeIdPath>("parent_id_path", message.parent_id_path.as_deref())?.into(),
        selectors: each("selectors", &message.selectors, selector)?,
        dns_names: each("dns_names", &message.dns_names, |name| dns_name(name))?,
        store_svid: message.store_svid,
    }))
}

/// Older clients give the whole SPIFFE ID; its trust domain is that of whichever zone the policy is bound in.
#[allow(deprecated)]
fn static_spiffe_id_path(message: &proto::ApStatic) -> Result<String, FieldError> {
    if let Some(id) = optional_text(message.spiffe_id.as_deref()).filter(|_| message.spiffe_id_path.is_none()) {
        let path = parse::<SpiffeId>("spiffe_id", id)?.path().to_owned();
        return if path.is_empty() { Err(FieldError::new("spiffe_id", "must have a path")) } else { Ok(path) };
    }
    Ok(required::<SpiffeIdPath>("spiffe_id_path", message.spiffe_id_path.as_deref())?.into())
}

fn selector(message: &ProtoSelector) -> Result<Selector, FieldError> {
    Ok(Selector { kind: text("type", &message.r#type)?, value: text("value", &message.value)? })
}

/// A DNS name; its first label may be `*`.
fn dns_name(name: &str) -> Result<String, FieldError> {
    parse::<Hostname>("", name.strip_prefix("*.").unwrap_or(name))?;
    Ok(name.to_owned())
}

pub(super) fn tpm_node(message: &proto::AptpmNode) -> Result<PolicyKind, FieldError> {
    let ek_hash = optional_text(message.attestation.as_ref().and_then(|attestation| attestation.ek_hash.as_deref()));
    if ek_hash.is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))) {
        return Err(FieldError::new("attestation.ek_hash", "must be 64 lower-case hexadecimal digits, the SHA-256 of the endorsement key"));
    }
    Ok(PolicyKind::TpmNode(TpmNodePolicy {
        ek_hash: ek_hash.map(str::to_owned),
        selector_values: each("selector_values", &message.selector_values, |value| text("", value))?,
    }))
}

impl TryFrom<proto::AttestationPolicy> for AttestationPolicy {
    type Error = FieldError;
    fn try_from(message: proto::AttestationPolicy) -> Result<Self, FieldError> {
        let convert = || {
            let draft = draft(&message)?;
            Ok(Self {
                id: required("id", message.id.as_deref())?,
                organization_id: required("org_id", message.org_id.as_deref())?,
                name: draft.name,
                trust_zone_id: draft.trust_zone_id,
                federations: draft.federations,
                kind: draft.kind,
                created_at: required_timestamp("created_at", message.created_at.as_ref())?,
                updated_at: required_timestamp("last_updated_at", message.last_updated_at.as_ref())?,
            })
        };
        convert().at("attestation_policy")
    }
}

impl From<&KubernetesPolicy> for proto::ApKubernetes {
    fn from(policy: &KubernetesPolicy) -> Self {
        Self {
            namespace_selector: policy.namespace_selector.as_ref().map(Into::into),
            pod_selector: policy.pod_selector.as_ref().map(Into::into),
            dns_name_templates: policy.dns_name_templates.clone(),
            spiffe_id_path_template: policy.spiffe_id_path_template.clone(),
        }
    }
}

impl From<&LabelSelector> for proto::ApLabelSelector {
    fn from(selector: &LabelSelector) -> Self {
        let expression = |expression: &MatchExpression| proto::ApMatchExpression {
            key: expression.key.clone(),
            operator: expression.operator.clone(),
            values: expression.values.clone(),
        };
        Self { match_labels: selector.match_labels.clone(), match_expressions: selector.match_expressions.iter().map(expression).collect() }
    }
}

impl From<&StaticPolicy> for proto::ApStatic {
    #[allow(deprecated)]
    fn from(policy: &StaticPolicy) -> Self {
        Self {
            spiffe_id: None,
            spiffe_id_path: Some(policy.spiffe_id_path.clone()),
            parent_id_path: Some(policy.parent_id_path.clone()),
            selectors: policy.selectors.iter().map(Into::into).collect(),
            dns_names: policy.dns_names.clone(),
            store_svid: policy.store_svid,
        }
    }
}

impl From<&Selector> for ProtoSelector {
    fn from(selector: &Selector) -> Self {
        Self { r#type: selector.kind.clone(), value: selector.value.clone() }
    }
}

impl From<&TpmNodePolicy> for proto::AptpmNode {
    fn from(policy: &TpmNodePolicy) -> Self {
        Self {
            attestation: Some(proto::TpmAttestation { ek_hash: policy.ek_hash.clone() }),
            selector_values: policy.selector_values.clone(),
        }
    }
}

impl From<&PolicyKind> for proto::attestation_policy::Policy {
    fn from(kind: &PolicyKind) -> Self {
        match kind {
            PolicyKind::Kubernetes(policy) => Self::Kubernetes(policy.into()),
            PolicyKind::Static(policy) => Self::Static(policy.into()),
            PolicyKind::TpmNode(policy) => Self::TpmNode(policy.into()),
        }
    }
}

impl From<&AttestationPolicy> for proto::AttestationPolicy {
    fn from(policy: &AttestationPolicy) -> Self {
        let partner = |zone: &TrustZoneId| proto::Federation { trust_zone_id: Some(zone.to_string()) };
        Self {
            id: Some(policy.id.to_string()),
            org_id: Some(policy.organization_id.to_string()),
            name: policy.name.to_string(),
            trust_zone_id: policy.trust_zone_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            federations: policy.federations.iter().map(partner).collect(),
            policy: Some((&policy.kind).into()),
            created_at: Some(timestamp(policy.created_at)),
            last_updated_at: Some(timestamp(policy.updated_at)),
        }
    }
}

also_owned!(AttestationPolicy => proto::AttestationPolicy);
