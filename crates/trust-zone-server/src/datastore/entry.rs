//! A registration entry: which processes are whom.

use std::collections::BTreeSet;
use std::fmt;

use cofide_core::{Selector, SpiffeId, Timestamp, TrustDomain};
use sha2::{Digest, Sha256};

use crate::config::StaticEntry;

/// Longest id and longest hint, as in SPIRE.
const MAX_ID_LENGTH: usize = 255;
pub const MAX_HINT_LENGTH: usize = 1024;

/// What the ids of entries from the configuration file begin with. No id made here or by SPIRE does: those are UUIDs.
const STATIC_PREFIX: &str = "static-";

/// A process that carries all of the selectors is the workload `spiffe_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    /// In the server's trust domain, outside of the reserved `/spire`.
    pub spiffe_id: SpiffeId,
    /// Kept for whoever wrote it. There are no nodes here, so it decides nothing.
    pub parent_id: SpiffeId,
    /// Never empty.
    pub selectors: BTreeSet<Selector>,
    pub federates_with: BTreeSet<TrustDomain>,
    pub dns_names: Vec<String>,
    /// Seconds; 0 for the server's default.
    pub x509_svid_ttl: u32,
    /// Seconds; 0 for the server's default.
    pub jwt_svid_ttl: u32,
    pub hint: String,
    pub admin: bool,
    pub downstream: bool,
    /// For SVIDs that go to a secret store instead of a workload; the Workload API passes such an entry over.
    pub store_svid: bool,
    /// Seconds since the Unix epoch; 0 for an entry that does not expire.
    pub expires_at: i64,
    /// Grows by one with each update.
    pub revision_number: i64,
    /// Seconds since the Unix epoch; 0 for an entry from the configuration file.
    pub created_at: i64,
}

/// Letters, digits, `-`, `_` and `.`, at most 255 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(String);

impl EntryId {
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names an entry of the configuration file.
    pub fn is_static(&self) -> bool {
        self.0.starts_with(STATIC_PREFIX)
    }
}

impl std::str::FromStr for EntryId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the entry ID is empty".into());
        }
        if text.len() > MAX_ID_LENGTH {
            return Err(format!("the entry ID has {} bytes, at most {MAX_ID_LENGTH} are allowed", text.len()));
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
            Some(found) => Err(format!("the entry ID contains {found:?}; allowed are letters, digits, '-', '_' and '.'")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Entry {
    /// An entry of the configuration file. Its id follows from what it says, so that it is the same after a restart.
    pub fn from_config(trust_domain: &TrustDomain, entry: &StaticEntry) -> Result<Self, String> {
        let spiffe_id = workload_id(trust_domain, &entry.spiffe_id_path)?;
        let mut hash = Sha256::new();
        hash.update(spiffe_id.to_string());
        for selector in &entry.selectors {
            hash.update(format!("\n{selector}"));
        }
        let id = EntryId(format!("{STATIC_PREFIX}{}", hex::encode(&hash.finalize()[..8])));
        let parent_id = SpiffeId::new(format!("spiffe://{trust_domain}/spire/server")).map_err(|error| error.to_string())?;
        Ok(Self {
            id,
            spiffe_id,
            parent_id,
            selectors: entry.selectors.clone(),
            federates_with: entry.federates_with.clone(),
            dns_names: entry.dns_names.clone(),
            x509_svid_ttl: 0,
            jwt_svid_ttl: 0,
            hint: entry.hint.clone(),
            admin: false,
            downstream: false,
            store_svid: false,
            expires_at: 0,
            revision_number: 0,
            created_at: 0,
        })
    }

    /// Whether the Workload API serves it to a process with these selectors.
    pub fn admits(&self, selectors: &BTreeSet<Selector>, now: Timestamp) -> bool {
        !self.store_svid && !self.is_expired(now) && self.selectors.is_subset(selectors)
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at != 0 && self.expires_at <= now.as_seconds()
    }

    /// Two entries that say the same of the same processes: SPIRE keeps one of them.
    pub fn is_similar(&self, other: &Self) -> bool {
        self.spiffe_id == other.spiffe_id && self.parent_id == other.parent_id && self.selectors == other.selectors
    }
}

/// A SPIFFE ID that an entry may give: in the trust domain, with a path, outside of `/spire`, which is for servers and
/// nodes.
pub fn workload_id(trust_domain: &TrustDomain, path: &str) -> Result<SpiffeId, String> {
    let id = member_id(trust_domain, path)?;
    if path == "/spire" || path.starts_with("/spire/") {
        return Err(format!("\"{id}\" is not a workload in trust domain \"{trust_domain}\"; path is in the reserved namespace"));
    }
    Ok(id)
}

/// A SPIFFE ID in the trust domain with a path.
pub fn member_id(trust_domain: &TrustDomain, path: &str) -> Result<SpiffeId, String> {
    if path.is_empty() {
        return Err(format!("\"spiffe://{trust_domain}\" is not a member of trust domain \"{trust_domain}\"; path is empty"));
    }
    if !path.starts_with('/') {
        return Err(format!("path {path:?} must begin with a slash"));
    }
    SpiffeId::new(format!("spiffe://{trust_domain}{path}")).map_err(|error| format!("path {path:?}: {error}"))
}

/// A selector's type has no colon and neither part is empty.
pub fn check_selector(kind: &str, value: &str) -> Result<Selector, String> {
    match (kind, value) {
        ("", _) => Err("missing selector type".into()),
        (kind, _) if kind.contains(':') => Err(format!("selector type {kind:?} contains ':'")),
        (_, "") => Err("missing selector value".into()),
        (kind, value) => Ok(Selector { kind: kind.into(), value: value.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_gives_ids_of_its_own_trust_domain_only() {
        let domain = TrustDomain::new("a.test").unwrap();
        assert_eq!(workload_id(&domain, "/ns/x").unwrap().to_string(), "spiffe://a.test/ns/x");
        for bad in ["", "ns/x", "/", "/x/", "//x", "/x/../y", "/spire/server", "/spire", "/ä", "/x?y"] {
            assert!(workload_id(&domain, bad).is_err(), "{bad:?}");
        }
        assert!(workload_id(&domain, "/spireling").is_ok(), "only the whole first segment is reserved");
        assert!(member_id(&domain, "/spire/server").is_ok(), "a parent may be a server");
    }

    #[test]
    fn an_entry_id_is_something_a_command_line_can_hold() {
        for good in ["0198f7d2-8ef3-7d7a-b5d4-e7bcbb5d7c4d", "static-x", "a.b_c"] {
            assert!(good.parse::<EntryId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", &"a".repeat(256)] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_static_entry_keeps_its_id_over_restarts() {
        let domain = TrustDomain::new("a.test").unwrap();
        let entry = |selector: &str| StaticEntry {
            spiffe_id_path: "/x".into(),
            selectors: BTreeSet::from([selector.parse().unwrap()]),
            federates_with: BTreeSet::new(),
            dns_names: Vec::new(),
            hint: String::new(),
        };
        let id = |selector| Entry::from_config(&domain, &entry(selector)).unwrap().id;
        assert_eq!(id("unix:uid:1"), id("unix:uid:1"));
        assert_ne!(id("unix:uid:1"), id("unix:uid:2"));
        assert!(id("unix:uid:1").is_static());
        assert!(!EntryId::random().is_static());
    }
}
