//! What the server knows, as one value, and the rules that hold between its parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofide_core::{Bundle, Selector, Timestamp, TrustDomain};

use super::{Entry, EntryId, FederationRelationship};

/// Entries, bundles and relationships at one moment.
///
/// An entry of the API federates only with trust domains whose bundles are here; an entry of the configuration file may
/// wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    trust_domain: TrustDomain,
    /// In the order of the configuration file.
    static_entries: Vec<Arc<Entry>>,
    entries: BTreeMap<EntryId, Arc<Entry>>,
    bundles: BTreeMap<TrustDomain, Arc<Bundle>>,
    relationships: BTreeMap<TrustDomain, Arc<FederationRelationship>>,
}

/// What creating an entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    New(Arc<Entry>),
    /// A similar one was there and stays as it is.
    Existing(Arc<Entry>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    #[error("unable to find federated bundle \"spiffe://{0}\"; set the bundle of {0} first")]
    NoBundle(TrustDomain),
    #[error("entry {0} comes from the configuration file; change it there and restart the server")]
    StaticEntry(EntryId),
    #[error("entry ID {0} is taken by another entry")]
    IdTaken(EntryId),
    #[error("{0} not found")]
    NotFound(&'static str),
    #[error("{0} already exists")]
    AlreadyExists(&'static str),
    #[error("cannot delete bundle; federated with {0} registration entries")]
    BundleInUse(usize),
}

/// What happens to the entries that federate with a trust domain when its bundle is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// Nothing: the bundle stays.
    Restrict,
    /// They are deleted too.
    Delete,
    /// They no longer federate with it.
    Dissociate,
}

impl Content {
    pub fn new(trust_domain: TrustDomain, static_entries: Vec<Entry>) -> Self {
        Self {
            trust_domain,
            static_entries: static_entries.into_iter().map(Arc::new).collect(),
            entries: BTreeMap::new(),
            bundles: BTreeMap::new(),
            relationships: BTreeMap::new(),
        }
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Those of the configuration file first, then the others by id.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.static_entries.iter().chain(self.entries.values())
    }

    /// Those that came through the API.
    pub fn api_entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    pub fn entry(&self, id: &EntryId) -> Option<&Arc<Entry>> {
        self.entries.get(id).or_else(|| self.static_entries.iter().find(|entry| entry.id == *id))
    }

    /// The entries that a process with these selectors matches: those of the configuration file first, then the oldest.
    ///
    /// Of several with the same hint the first stays, since a hint must be unique in an answer (SPIFFE Workload API,
    /// section 5.2.1).
    pub fn matching(&self, selectors: &BTreeSet<Selector>, now: Timestamp) -> Vec<Arc<Entry>> {
        let mut matching: Vec<_> = self.entries().filter(|entry| entry.admits(selectors, now)).cloned().collect();
        // Stable: entries of the same second stay in the order of their ids.
        matching.sort_by_key(|entry| entry.created_at);
        let mut hints = BTreeSet::new();
        matching.retain(|entry| entry.hint.is_empty() || hints.insert(entry.hint.clone()));
        matching
    }

    /// Whether any entry asks for selectors of this type and prefix, as in `unix` and `sha256:`.
    pub fn asks_for(&self, kind: &str, value_prefix: &str) -> bool {
        self.entries().any(|entry| entry.selectors.iter().any(|selector| selector.kind == kind && selector.value.starts_with(value_prefix)))
    }

    pub fn create_entry(&mut self, entry: Entry) -> Result<Created, ContentError> {
        if let Some(existing) = self.entries().find(|existing| existing.is_similar(&entry)) {
            return Ok(Created::Existing(existing.clone()));
        }
        if entry.id.is_static() || self.entry(&entry.id).is_some() {
            return Err(ContentError::IdTaken(entry.id));
        }
        self.check_federates_with(&entry)?;
        Ok(Created::New(self.put_entry(entry)))
    }

    /// Puts back an entry that was persisted.
    pub(super) fn put_entry(&mut self, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.entries.insert(entry.id.clone(), entry.clone());
        entry
    }

    /// Changes an entry through `change`; its id stays, its revision number grows.
    pub fn update_entry(&mut self, id: &EntryId, change: impl FnOnce(&mut Entry)) -> Result<Arc<Entry>, ContentError> {
        let mut entry = self.api_entry(id)?.as_ref().clone();
        change(&mut entry);
        entry.id = id.clone();
        entry.revision_number += 1;
        self.check_federates_with(&entry)?;
        Ok(self.put_entry(entry))
    }

    pub fn delete_entry(&mut self, id: &EntryId) -> Result<(), ContentError> {
        self.api_entry(id)?;
        self.entries.remove(id);
        Ok(())
    }

    /// Removes the entries that have expired.
    pub fn prune_entries(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| !entry.is_expired(now));
    }

    fn api_entry(&self, id: &EntryId) -> Result<&Arc<Entry>, ContentError> {
        match self.entries.get(id) {
            Some(entry) => Ok(entry),
            None if self.entry(id).is_some() => Err(ContentError::StaticEntry(id.clone())),
            None => Err(ContentError::NotFound("entry")),
        }
    }

    fn check_federates_with(&self, entry: &Entry) -> Result<(), ContentError> {
        let is_known = |domain: &&TrustDomain| **domain == self.trust_domain || self.bundles.contains_key(*domain);
        match entry.federates_with.iter().find(|domain| !is_known(domain)) {
            Some(domain) => Err(ContentError::NoBundle(domain.clone())),
            None => Ok(()),
        }
    }

    /// The bundles of foreign trust domains.
    pub fn bundles(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.bundles.values()
    }

    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.bundles.get(trust_domain)
    }

    pub fn create_bundle(&mut self, bundle: Bundle) -> Result<Arc<Bundle>, ContentError> {
        match self.bundles.contains_key(&bundle.trust_domain) {
            true => Err(ContentError::AlreadyExists("bundle")),
            false => Ok(self.set_bundle(bundle)),
        }
    }

    pub fn set_bundle(&mut self, bundle: Bundle) -> Arc<Bundle> {
        let bundle = Arc::new(bundle);
        self.bundles.insert(bundle.trust_domain.clone(), bundle.clone());
        bundle
    }

    pub fn update_bundle(&mut self, trust_domain: &TrustDomain, change: impl FnOnce(&mut Bundle)) -> Result<Arc<Bundle>, ContentError> {
        let mut bundle = self.bundles.get(trust_domain).ok_or(ContentError::NotFound("bundle"))?.as_ref().clone();
        change(&mut bundle);
        bundle.trust_domain = trust_domain.clone();
        Ok(self.set_bundle(bundle))
    }

    pub fn delete_bundle(&mut self, trust_domain: &TrustDomain, mode: DeleteMode) -> Result<(), ContentError> {
        if !self.bundles.contains_key(trust_domain) {
            return Err(ContentError::NotFound("bundle"));
        }
        let users: Vec<EntryId> =
            self.entries.values().filter(|entry| entry.federates_with.contains(trust_domain)).map(|entry| entry.id.clone()).collect();
        match mode {
            DeleteMode::Restrict if !users.is_empty() => return Err(ContentError::BundleInUse(users.len())),
            DeleteMode::Restrict => {}
            DeleteMode::Delete => self.entries.retain(|id, _| !users.contains(id)),
            DeleteMode::Dissociate => {
                for id in users {
                    self.update_entry(&id, |entry| {
                        entry.federates_with.remove(trust_domain);
                    })?;
                }
            }
        }
        self.bundles.remove(trust_domain);
        Ok(())
    }

    pub fn relationships(&self) -> impl Iterator<Item = &Arc<FederationRelationship>> {
        self.relationships.values()
    }

    pub fn relationship(&self, trust_domain: &TrustDomain) -> Option<&Arc<FederationRelationship>> {
        self.relationships.get(trust_domain)
    }

    pub fn create_relationship(&mut self, relationship: FederationRelationship) -> Result<Arc<FederationRelationship>, ContentError> {
        match self.relationships.contains_key(&relationship.trust_domain) {
            true => Err(ContentError::AlreadyExists("federation relationship")),
            false => Ok(self.put_relationship(relationship)),
        }
    }

    pub(super) fn put_relationship(&mut self, relationship: FederationRelationship) -> Arc<FederationRelationship> {
        let relationship = Arc::new(relationship);
        self.relationships.insert(relationship.trust_domain.clone(), relationship.clone());
        relationship
    }

    pub fn update_relationship(
        &mut self,
        trust_domain: &TrustDomain,
        change: impl FnOnce(&mut FederationRelationship),
    ) -> Result<Arc<FederationRelationship>, ContentError> {
        let held = self.relationships.get(trust_domain).ok_or(ContentError::NotFound("federation relationship"))?;
        let mut relationship = held.as_ref().clone();
        change(&mut relationship);
        relationship.trust_domain = trust_domain.clone();
        Ok(self.put_relationship(relationship))
    }

    /// The bundle stays, as in SPIRE: entries may federate with the domain still.
    pub fn delete_relationship(&mut self, trust_domain: &TrustDomain) -> Result<(), ContentError> {
        self.relationships.remove(trust_domain).map(drop).ok_or(ContentError::NotFound("federation relationship"))
    }
}
