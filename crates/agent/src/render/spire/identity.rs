//! Who gets an identity.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{AttestationPolicyBindingId, LabelSelector, TrustDomain};
use cofide_k8s_api::spire as k8s;
use cofide_k8s_api::spire::{ClusterSPIFFEID, ClusterSPIFFEIDSpec, ClusterStaticEntry, ClusterStaticEntrySpec};

use super::SpireSettings;
use super::object::{Owner, SpireObject};
use crate::render::names;
use crate::render::object::ObjectName;
use crate::spire::model::{Desired, DesiredEntry, DesiredPods};

/// The objects of all bindings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identities {
    pub objects: BTreeMap<ObjectName, SpireObject>,
    /// Domains that a binding asks for and that no entry may name yet.
    pub waiting: BTreeMap<AttestationPolicyBindingId, BTreeSet<TrustDomain>>,
}

/// A SPIRE server refuses an entry that names a trust domain whose bundle it does not hold, and with it the identity. So each
/// object names those domains alone of which `usable` says that they can be named.
pub fn identities(desired: &Desired, usable: impl Fn(&TrustDomain) -> bool, settings: &SpireSettings) -> Identities {
    let mut result = Identities::default();
    let mut named = |asked: &BTreeSet<TrustDomain>, bindings: &BTreeSet<AttestationPolicyBindingId>| -> Vec<String> {
        let (named, missing): (BTreeSet<_>, BTreeSet<_>) =
            asked.iter().cloned().partition(|domain| desired.trust.contains_key(domain) && usable(domain));
        if !missing.is_empty() {
            result.waiting.extend(bindings.iter().map(|binding| (binding.clone(), missing.clone())));
        }
        named.iter().map(ToString::to_string).collect()
    };
    let mut objects = Vec::new();
    for pods in &desired.pods {
        let bindings = BTreeSet::from([pods.binding.clone()]);
        objects.push(of_pods(pods, named(&pods.federates_with, &bindings), bindings, settings));
    }
    for entry in &desired.entries {
        objects.push(of_entry(entry, named(&entry.content.federates_with, &entry.bindings), settings));
    }
    result.objects = objects.into_iter().map(|object| (object.name.clone(), object)).collect();
    result
}

fn of_pods(
    pods: &DesiredPods,
    federates_with: Vec<String>,
    bindings: BTreeSet<AttestationPolicyBindingId>,
    settings: &SpireSettings,
) -> SpireObject {
    let spec = ClusterSPIFFEIDSpec {
        class_name: settings.class_name.clone(),
        spiffe_id_template: pods.spiffe_id_template.clone(),
        dns_name_templates: pods.dns_name_templates.clone(),
        federates_with,
        namespace_selector: selector(&pods.namespace_selector),
        pod_selector: selector(&pods.pod_selector),
        ..ClusterSPIFFEIDSpec::default()
    };
    let policy = pods.policy_name.as_str();
    let name = names::object(policy, &[pods.binding.as_str()]);
    SpireObject::new(ClusterSPIFFEID::new, name, spec, Owner::Bindings(bindings), Some(policy))
}

fn of_entry(entry: &DesiredEntry, federates_with: Vec<String>, settings: &SpireSettings) -> SpireObject {
    let selectors: Vec<_> = entry.key.selectors.iter().map(ToString::to_string).collect();
    let path = entry.key.spiffe_id.splitn(4, '/').last().unwrap_or_default();
    // What SPIRE treats as the identity of an entry is that of the object too.
    let mut identity = vec![entry.key.spiffe_id.as_str(), entry.key.parent_id.as_str()];
    identity.extend(selectors.iter().map(String::as_str));
    let name = names::object(path, &identity);
    let spec = ClusterStaticEntrySpec {
        class_name: settings.class_name.clone(),
        spiffe_id: entry.key.spiffe_id.clone(),
        parent_id: entry.key.parent_id.clone(),
        selectors,
        federates_with,
        dns_names: entry.content.dns_names.clone(),
        hint: entry.content.hint.clone(),
        store_svid: entry.content.store_svid,
        ..ClusterStaticEntrySpec::default()
    };
    SpireObject::new(ClusterStaticEntry::new, name, spec, Owner::Bindings(entry.bindings.clone()), None)
}

fn selector(selector: &LabelSelector) -> k8s::LabelSelector {
    let requirement = |expression: &cofide_core::MatchExpression| k8s::LabelSelectorRequirement {
        key: expression.key.clone(),
        operator: expression.operator.clone(),
        values: expression.values.clone(),
    };
    k8s::LabelSelector {
        match_labels: selector.match_labels.clone(),
        match_expressions: selector.match_expressions.iter().map(requirement).collect(),
    }
}
