//! From the plan to what the SPIRE server should hold. Pure.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{FederatedTrust, PolicyKind, SpiffeId, SpiffeIdPath, StaticPolicy, TrustDomain, WorkloadRegistration};

use super::model::{Desired, DesiredEntry, DesiredTrust, EntryContent, EntryKey, HINT_PREFIX, Relationship};
use super::pods::pods;

/// SPIRE has no attestor for TPMs of its own, and no call that tells which plugins a server has.
const NO_TPM_ATTESTOR: &str =
    "a TPM policy is about nodes that a TPM node attestor admits, which SPIRE does not have of its own; nothing is written for it";

/// What the server of `own` should hold for these registrations and this trust.
///
/// A static policy is one entry. A kubernetes policy describes pods, of which a controller makes entries: whether there is
/// one is the executor's matter.
pub fn desired<'a>(
    own: &TrustDomain,
    registrations: impl IntoIterator<Item = &'a WorkloadRegistration>,
    trust: impl IntoIterator<Item = &'a FederatedTrust>,
) -> Desired {
    let mut desired = Desired::default();
    let mut entries: BTreeMap<EntryKey, DesiredEntry> = BTreeMap::new();
    let mut registrations: Vec<_> = registrations.into_iter().collect();
    registrations.sort_by(|a, b| a.binding_id.cmp(&b.binding_id));
    for registration in registrations {
        let taken_in = match &registration.kind {
            PolicyKind::Static(policy) => key(own, policy).map(|key| merge(&mut entries, key, policy, registration)),
            PolicyKind::Kubernetes(policy) => pods(own, registration, policy).map(|pods| desired.pods.push(pods)),
            PolicyKind::TpmNode(_) => {
                desired.unsupported.insert(registration.binding_id.clone(), NO_TPM_ATTESTOR.to_owned());
                Ok(())
            }
        };
        if let Err(reason) = taken_in {
            desired.refused.insert(registration.binding_id.clone(), reason);
        }
    }
    desired.entries = entries.into_values().collect();
    desired.trust = trust
        .into_iter()
        .filter(|trust| trust.trust_domain != *own)
        .map(|trust| {
            let relationship = trust.bundle_endpoint.as_ref().map(|endpoint| Relationship::new(trust.trust_domain.clone(), endpoint));
            // A bundle without an authority verifies nobody and SPIRE refuses it: the same as not delivered yet.
            let bundle = trust.bundle.clone().filter(|bundle| !bundle.x509_authorities.is_empty() || !bundle.jwt_authorities.is_empty());
            (trust.trust_domain.clone(), DesiredTrust { bundle, relationship })
        })
        .collect();
    desired
}

fn key(own: &TrustDomain, policy: &StaticPolicy) -> Result<EntryKey, String> {
    if policy.selectors.is_empty() {
        return Err("the policy has no selector, so it would match every workload".to_owned());
    }
    Ok(EntryKey {
        spiffe_id: spiffe_id(own, "SPIFFE ID path", &policy.spiffe_id_path)?,
        parent_id: spiffe_id(own, "parent ID path", &policy.parent_id_path)?,
        selectors: policy.selectors.iter().cloned().collect(),
    })
}

fn spiffe_id(own: &TrustDomain, what: &str, path: &str) -> Result<String, String> {
    let path: SpiffeIdPath = path.parse().map_err(|error| format!("the {what}: {error}"))?;
    let id = path.in_trust_domain(own);
    SpiffeId::new(&id).map(|_| id).map_err(|error| format!("the {what} {}: {error}", path.as_str()))
}

/// Two bindings may ask for one and the same entry, and SPIRE holds it once. Each of them alone would give the workload
/// the bundles that it names, so together they give the union. The binding with the smallest id signs.
fn merge(entries: &mut BTreeMap<EntryKey, DesiredEntry>, key: EntryKey, policy: &StaticPolicy, registration: &WorkloadRegistration) {
    let federates_with: BTreeSet<_> = registration.federates_with.iter().cloned().collect();
    match entries.get_mut(&key) {
        Some(entry) => {
            entry.bindings.insert(registration.binding_id.clone());
            entry.content.federates_with.extend(federates_with);
            entry.content.store_svid |= policy.store_svid;
            for name in &policy.dns_names {
                if !entry.content.dns_names.contains(name) {
                    entry.content.dns_names.push(name.clone());
                }
            }
        }
        None => {
            let hint = format!("{HINT_PREFIX}{}", registration.binding_id);
            let content = EntryContent { dns_names: policy.dns_names.clone(), federates_with, store_svid: policy.store_svid, hint };
            entries.insert(key.clone(), DesiredEntry { key, content, bindings: BTreeSet::from([registration.binding_id.clone()]) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{Bundle, Selector};

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::new(name).unwrap()
    }

    fn registration(binding: &str, path: &str, selectors: &[&str], federates_with: &[&str]) -> WorkloadRegistration {
        let policy = StaticPolicy {
            spiffe_id_path: path.to_owned(),
            parent_id_path: "/agent".to_owned(),
            selectors: selectors.iter().map(|selector| selector.parse::<Selector>().unwrap()).collect(),
            dns_names: Vec::new(),
            store_svid: false,
        };
        WorkloadRegistration {
            binding_id: binding.parse().unwrap(),
            policy_name: "policy".parse().unwrap(),
            kind: PolicyKind::Static(policy),
            federates_with: federates_with.iter().map(|name| domain(name)).collect(),
        }
    }

    #[test]
    fn a_static_policy_becomes_an_entry_under_the_zones_own_trust_domain() {
        let desired = desired(&domain("a.test"), [&registration("b1", "/ns/demo/sa/client", &["unix:uid:7"], &["b.test"])], []);
        assert_eq!(desired.entries.len(), 1);
        let entry = &desired.entries[0];
        assert_eq!(entry.key.spiffe_id, "spiffe://a.test/ns/demo/sa/client");
        assert_eq!(entry.key.parent_id, "spiffe://a.test/agent");
        assert_eq!(entry.content.hint, "cofide:b1");
        assert_eq!(entry.content.federates_with, BTreeSet::from([domain("b.test")]));
    }

    #[test]
    fn two_bindings_of_one_entry_add_up_in_any_order() {
        let one = registration("b1", "/x", &["unix:uid:7", "unix:gid:1"], &["b.test"]);
        let two = registration("b2", "x", &["unix:gid:1", "unix:uid:7"], &["c.test"]);
        let forward = desired(&domain("a.test"), [&one, &two], []);
        assert_eq!(forward, desired(&domain("a.test"), [&two, &one], []));
        assert_eq!(forward.entries.len(), 1);
        assert_eq!(forward.entries[0].content.federates_with.len(), 2);
        assert_eq!(forward.entries[0].content.hint, "cofide:b1");
    }

    #[test]
    fn a_bad_policy_harms_only_itself() {
        let bad = registration("b1", "/a//b", &["unix:uid:7"], &[]);
        let open = registration("b2", "/open", &[], &[]);
        let good = registration("b3", "/good", &["unix:uid:7"], &[]);
        let desired = desired(&domain("a.test"), [&bad, &open, &good], []);
        assert_eq!(desired.entries.len(), 1);
        assert_eq!(desired.refused.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["b1", "b2"]);
    }

    #[test]
    fn each_kind_of_policy_goes_where_it_belongs() {
        use cofide_core::{KubernetesPolicy, TpmNodePolicy};
        let of = |binding: &str, kind| WorkloadRegistration { kind, ..registration(binding, "/x", &["unix:uid:7"], &["b.test"]) };
        let good = of("b1", PolicyKind::Kubernetes(KubernetesPolicy::default()));
        let template = Some("{{ .PodMeta.UID }}".to_owned());
        let bad = of("b2", PolicyKind::Kubernetes(KubernetesPolicy { spiffe_id_path_template: template, ..KubernetesPolicy::default() }));
        let tpm = of("b3", PolicyKind::TpmNode(TpmNodePolicy { ek_hash: None, selector_values: Vec::new() }));
        let desired = desired(&domain("a.test"), [&good, &bad, &tpm], []);
        assert_eq!(desired.pods.iter().map(|pods| pods.binding.as_str()).collect::<Vec<_>>(), ["b1"]);
        assert_eq!(desired.pods[0].federates_with, BTreeSet::from([domain("b.test")]));
        assert_eq!(desired.refused.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["b2"]);
        assert_eq!(desired.unsupported.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["b3"]);
        assert_eq!(desired.entries, []);
    }

    #[test]
    fn an_empty_bundle_counts_as_not_delivered() {
        let trust = FederatedTrust {
            trust_domain: domain("b.test"),
            trust_zone_name: "zone-b".parse().unwrap(),
            bundle: Some(Bundle::empty(domain("b.test"))),
            bundle_endpoint: None,
        };
        assert_eq!(desired(&domain("a.test"), [], [&trust]).trust[&domain("b.test")].bundle, None);
    }
}
