//! What to change in the server, and in which order. Pure.
//!
//! SPIRE refuses an entry that federates with a domain whose bundle it does not hold, and refuses to drop a bundle that
//! an entry still names. Hence three lists, applied one after the other:
//!
//! ```text
//!  trust_changes    bundles, then relationships: set or mended
//!  entry_changes    create, update, delete; federates_with limited to bundles that are there by now
//!  trust_removals   relationships, then bundles that nothing wants any more
//! ```
//!
//! Stopping after any change leaves a state from which the next run goes on: each list is made from what the server
//! holds, never from what an earlier run meant to do.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{AttestationPolicyBindingId, Bundle, TrustDomain};

use super::model::{
    BundleMark, Desired, DesiredEntry, Entry, EntryContent, EntryKey, OwnedTrust, Relationship, State, same_foreign_authorities,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustChange {
    SetBundle(Bundle),
    CreateRelationship(Relationship),
    UpdateRelationship(Relationship),
}

impl TrustChange {
    pub fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::SetBundle(bundle) => &bundle.trust_domain,
            Self::CreateRelationship(relationship) | Self::UpdateRelationship(relationship) => &relationship.trust_domain,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryChange {
    Create { key: EntryKey, content: EntryContent, bindings: BTreeSet<AttestationPolicyBindingId> },
    Update { id: String, spiffe_id: String, content: EntryContent, bindings: BTreeSet<AttestationPolicyBindingId> },
    Delete { id: String, spiffe_id: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustRemoval {
    Relationship(TrustDomain),
    Bundle(TrustDomain),
}

impl TrustRemoval {
    pub fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::Relationship(trust_domain) | Self::Bundle(trust_domain) => trust_domain,
        }
    }
}

/// The entries to change, and why some cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChanges {
    pub changes: Vec<EntryChange>,
    pub conflicts: BTreeMap<AttestationPolicyBindingId, String>,
    /// Domains that a binding asks for and that have no bundle in the server yet.
    pub waiting: BTreeMap<AttestationPolicyBindingId, BTreeSet<TrustDomain>>,
}

pub fn trust_changes(desired: &Desired, state: &State, owned: &OwnedTrust) -> Vec<TrustChange> {
    let bundles = desired.trust.iter().filter_map(|(trust_domain, trust)| {
        let bundle = trust.bundle.as_ref()?;
        let written = owned.get(trust_domain);
        should_set(bundle, state.bundles.get(trust_domain), written).then(|| TrustChange::SetBundle(bundle.clone()))
    });
    let relationships = desired.trust.iter().filter_map(|(trust_domain, trust)| {
        let wanted = trust.relationship.as_ref()?;
        match state.relationships.get(trust_domain) {
            None => Some(TrustChange::CreateRelationship(wanted.clone())),
            Some(held) if !held.is_same(wanted) => Some(TrustChange::UpdateRelationship(wanted.clone())),
            Some(_) => None,
        }
    });
    bundles.chain(relationships).collect()
}

/// Whether the bundle that Connect delivered takes the place of the one in the server.
///
/// Two hands write there: this agent, and the server's own polling of the bundle endpoint, and either can be ahead. While
/// the two bundles have an X.509 authority in common, both are of one issuer, and the sequence number decides where the
/// issuer counts. Where it does not, a bundle is written once: if the server's differs after that, then its polling has
/// found something newer than what was delivered.
///
/// Without a common authority, no number makes one bundle the successor of the other: the issuer was built anew and
/// counts from the beginning, or somebody put a bundle there. Connect vouches for what it delivers, so that wins. (Whether
/// the authorities are tainted does not matter here: a bundle that taints one is the successor of the one that does not.)
fn should_set(delivered: &Bundle, held: Option<&Bundle>, written: Option<&BundleMark>) -> bool {
    let Some(held) = held else { return true };
    if same_foreign_authorities(delivered, held) {
        return false;
    }
    if !share_an_authority(delivered, held) {
        return true;
    }
    if delivered.sequence_number != held.sequence_number && delivered.sequence_number != 0 && held.sequence_number != 0 {
        return delivered.sequence_number > held.sequence_number;
    }
    written != Some(&BundleMark::of(delivered))
}

fn share_an_authority(one: &Bundle, other: &Bundle) -> bool {
    one.x509_authorities.iter().any(|authority| other.x509_authorities.iter().any(|found| found.der == authority.der))
}

/// The trust domains whose bundle in the server stays although it is not the one that was delivered, each with the
/// reason: of them it cannot be said that what Connect delivered is in effect.
pub fn kept_bundles(desired: &Desired, state: &State, owned: &OwnedTrust) -> BTreeMap<TrustDomain, &'static str> {
    let kept = desired.trust.iter().filter_map(|(trust_domain, trust)| {
        let (delivered, held) = (trust.bundle.as_ref()?, state.bundles.get(trust_domain)?);
        if same_foreign_authorities(delivered, held) || should_set(delivered, Some(held), owned.get(trust_domain)) {
            return None;
        }
        let reason = match held.sequence_number > delivered.sequence_number && delivered.sequence_number != 0 {
            true => "the SPIRE server holds another bundle with a higher sequence number",
            false => "the SPIRE server has replaced the bundle by another since it was set",
        };
        Some((trust_domain.clone(), reason))
    });
    kept.collect()
}

/// `bundles` are the domains whose bundles the server holds once the trust changes are in.
pub fn entry_changes(desired: &Desired, state: &State, bundles: &BTreeSet<TrustDomain>) -> EntryChanges {
    let mut result = EntryChanges::default();
    let held: BTreeMap<&EntryKey, &Entry> = state.entries.iter().map(|entry| (&entry.key, entry)).collect();
    let wanted: BTreeSet<&EntryKey> = desired.entries.iter().map(|entry| &entry.key).collect();
    let usable = |trust_domain: &TrustDomain| bundles.contains(trust_domain) && desired.trust.contains_key(trust_domain);

    let mut updates = Vec::new();
    for DesiredEntry { key, content, bindings } in &desired.entries {
        let (federates_with, missing): (BTreeSet<_>, BTreeSet<_>) = content.federates_with.iter().cloned().partition(usable);
        if !missing.is_empty() {
            result.waiting.extend(bindings.iter().map(|binding| (binding.clone(), missing.clone())));
        }
        let content = EntryContent { federates_with, ..content.clone() };
        match held.get(key) {
            None => result.changes.push(EntryChange::Create { key: key.clone(), content, bindings: bindings.clone() }),
            Some(entry) if !entry.is_ours() => {
                let reason = format!(
                    "entry {} has the same SPIFFE ID {}, parent and selectors and is not this agent's; delete it to let the binding \
                     take its place",
                    entry.id, key.spiffe_id
                );
                result.conflicts.extend(bindings.iter().map(|binding| (binding.clone(), reason.clone())));
            }
            Some(entry) if entry.content != content => {
                updates.push(EntryChange::Update {
                    id: entry.id.clone(),
                    spiffe_id: key.spiffe_id.clone(),
                    content,
                    bindings: bindings.clone(),
                });
            }
            Some(_) => {}
        }
    }
    result.changes.append(&mut updates);
    // Last, so that a workload whose entry is replaced by another is never without an identity.
    let obsolete = state.entries.iter().filter(|entry| entry.is_ours() && !wanted.contains(&entry.key));
    result.changes.extend(obsolete.map(|entry| EntryChange::Delete { id: entry.id.clone(), spiffe_id: entry.key.spiffe_id.clone() }));
    result
}

/// The trust domains of the plan that the server holds something of, and that are not known to be the agent's: they are
/// now, whoever put them there. So a federation ends in the server as well when it ends in Connect, also where the agent has
/// forgotten that it set it up.
pub fn adopted(desired: &Desired, state: &State, owned: &OwnedTrust) -> BTreeSet<TrustDomain> {
    let is_held = |trust_domain: &&TrustDomain| state.bundles.contains_key(trust_domain) || state.relationships.contains_key(trust_domain);
    desired.trust.keys().filter(is_held).filter(|trust_domain| !owned.contains_key(trust_domain)).cloned().collect()
}

/// The trust domains that the server holds something of and that neither the plan nor the agent's memory knows: set up by
/// somebody else, or by an agent that has forgotten it. To take them down would be to delete on ignorance.
pub fn strangers(desired: &Desired, state: &State, owned: &OwnedTrust) -> BTreeSet<TrustDomain> {
    let held = state.bundles.keys().chain(state.relationships.keys());
    held.filter(|trust_domain| !desired.trust.contains_key(trust_domain) && !owned.contains_key(trust_domain)).cloned().collect()
}

/// Only domains that are the agent's are taken down again.
pub fn trust_removals(desired: &Desired, state: &State, owned: &OwnedTrust) -> Vec<TrustRemoval> {
    let unwanted_relationship = |trust_domain: &TrustDomain| {
        let wanted = desired.trust.get(trust_domain).is_some_and(|trust| trust.relationship.is_some());
        !wanted && state.relationships.contains_key(trust_domain)
    };
    let relationships = owned.keys().filter(|trust_domain| unwanted_relationship(trust_domain)).cloned().map(TrustRemoval::Relationship);
    let unwanted_bundle =
        |trust_domain: &TrustDomain| !desired.trust.contains_key(trust_domain) && state.bundles.contains_key(trust_domain);
    let bundles = owned.keys().filter(|trust_domain| unwanted_bundle(trust_domain)).cloned().map(TrustRemoval::Bundle);
    relationships.chain(bundles).collect()
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
