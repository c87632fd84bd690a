//! Attestation policies, by kind.

use cofide_api::convert::attestation_policy::Draft;
use cofide_api::types::attestation_policy::AttestationPolicy;
use cofide_core::{LabelSelector, PolicyKind};
use serde::Serialize;

use super::{joined, moment, or_nothing};
use crate::error::{Error, Result};
use crate::label_selector;
use crate::printer::{Table, View};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyView {
    pub id: String,
    pub name: String,
    #[serde(flatten)]
    pub kind: KindView,
    pub created_at: Option<String>,
    pub last_updated_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KindView {
    Kubernetes {
        spiffe_id_path_template: Option<String>,
        /// As kubectl would take it.
        namespace_labels: String,
        pod_labels: String,
        dns_name_templates: Vec<String>,
    },
    Static {
        spiffe_id_path: String,
        parent_id_path: String,
        selectors: Vec<String>,
        dns_names: Vec<String>,
    },
    TpmNode {
        ek_hash: Option<String>,
        selector_values: Vec<String>,
    },
}

impl PolicyView {
    /// Fails where Connect sends a policy that it should not have stored.
    pub fn new(policy: &AttestationPolicy) -> Result<Self> {
        let draft = Draft::try_from(policy).map_err(|error| {
            Error::failed(format!("attestation policy {:?} cannot be shown: {error}", policy.name))
                .hint("Connect is probably of another version than cofidectl; compare the versions")
        })?;
        let labels = |selector: Option<&LabelSelector>| selector.map(label_selector::format).unwrap_or_default();
        let kind = match draft.kind {
            PolicyKind::Kubernetes(policy) => KindView::Kubernetes {
                namespace_labels: labels(policy.namespace_selector.as_ref()),
                pod_labels: labels(policy.pod_selector.as_ref()),
                spiffe_id_path_template: policy.spiffe_id_path_template,
                dns_name_templates: policy.dns_name_templates,
            },
            PolicyKind::Static(policy) => KindView::Static {
                spiffe_id_path: policy.spiffe_id_path,
                parent_id_path: policy.parent_id_path,
                selectors: policy.selectors.iter().map(ToString::to_string).collect(),
                dns_names: policy.dns_names,
            },
            PolicyKind::TpmNode(policy) => KindView::TpmNode { ek_hash: policy.ek_hash, selector_values: policy.selector_values },
        };
        Ok(Self {
            id: policy.id().to_owned(),
            name: policy.name.clone(),
            kind,
            created_at: moment!(policy.created_at),
            last_updated_at: moment!(policy.last_updated_at),
        })
    }

    /// The fields of its kind, as a list of policies and the page of one show them alike.
    fn fields(&self) -> Vec<(&'static str, String)> {
        match &self.kind {
            KindView::Kubernetes { spiffe_id_path_template, namespace_labels, pod_labels, dns_name_templates } => vec![
                ("SPIFFE ID Path Template", or_nothing(spiffe_id_path_template.as_deref())),
                ("Namespace Labels", or_nothing(Some(namespace_labels))),
                ("Pod Labels", or_nothing(Some(pod_labels))),
                ("DNS Name Templates", joined(dns_name_templates)),
            ],
            KindView::Static { spiffe_id_path, parent_id_path, selectors, dns_names } => vec![
                ("SPIFFE ID Path", spiffe_id_path.clone()),
                ("Parent ID Path", parent_id_path.clone()),
                ("Selectors", joined(selectors)),
                ("DNS Names", joined(dns_names)),
            ],
            KindView::TpmNode { ek_hash, selector_values } => {
                vec![("EK Hash", or_nothing(ek_hash.as_deref())), ("Selector Values", joined(selector_values))]
            }
        }
    }
}

impl View for PolicyView {
    fn tables(&self) -> Vec<Table> {
        let kind = match self.kind {
            KindView::Kubernetes { .. } => "kubernetes",
            KindView::Static { .. } => "static",
            KindView::TpmNode { .. } => "tpm-node",
        };
        let head = [("Name", self.name.clone()), ("ID", self.id.clone()), ("Kind", kind.to_owned())];
        vec![Table::of_fields(head.into_iter().chain(self.fields()))]
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct PoliciesView(pub Vec<PolicyView>);

impl View for PoliciesView {
    fn tables(&self) -> Vec<Table> {
        let table = |title, is_kind: fn(&KindView) -> bool| {
            let policies: Vec<_> = self.0.iter().filter(|policy| is_kind(&policy.kind)).collect();
            let names = policies.first().map(|policy| policy.fields()).unwrap_or_default().into_iter().map(|(name, _)| name);
            let header: Vec<_> = std::iter::once("Name").chain(names).collect();
            let row = |policy: &&PolicyView| {
                std::iter::once(policy.name.clone()).chain(policy.fields().into_iter().map(|(_, value)| value)).collect()
            };
            Table::new(header).title(title).rows(policies.iter().map(row))
        };
        vec![
            table("Kubernetes attestation policies", |kind| matches!(kind, KindView::Kubernetes { .. })),
            table("Static attestation policies", |kind| matches!(kind, KindView::Static { .. })),
            table("TPM node attestation policies", |kind| matches!(kind, KindView::TpmNode { .. })),
        ]
    }
}
