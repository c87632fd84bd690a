//! What the SPIRE server of a cluster holds of other trust domains, as its agent read it there.
//!
//! A receipt says what an agent made of what it was sent; a reading says what is there now, whoever put it there. Each
//! reading is complete, so that a trust domain which is missing in it is not held.

use std::collections::BTreeMap;

use crate::text::checked_text;
use crate::{ClusterId, Timestamp, TrustDomain};

/// The last reading of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleReading {
    pub cluster_id: ClusterId,
    /// When the server was read: the moment of the proof.
    pub read_at: Timestamp,
    pub bundles: BTreeMap<TrustDomain, HeldBundle>,
}

/// How one trust domain stands in a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBundle {
    /// Absent where the server held the bundle once and holds none now.
    pub found: Option<FoundBundle>,
    /// When it was first read like this; every reading since has found the same.
    pub since: Timestamp,
}

/// A bundle as far as it matters for telling it from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBundle {
    pub digest: BundleDigest,
    /// 0 where the issuer does not count.
    pub sequence_number: u64,
}

/// Stands for the keys of a bundle; see [`Bundle::digest`](crate::Bundle::digest). 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleDigest(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits in lower case")]
pub struct BundleDigestError;

fn check_digest(text: &str) -> Result<(), BundleDigestError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(is_digit) { Ok(()) } else { Err(BundleDigestError) }
}

checked_text!(BundleDigest, BundleDigestError, check_digest);

impl BundleDigest {
    pub(crate) fn from_sha256(hash: [u8; 32]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The first twelve digits: enough for a person to compare two.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl BundleReading {
    /// The reading that follows on `before`: what was held then and is not `found` now is kept as gone, as long as
    /// `is_known` says that somebody may ask for it. `None` where `before` is the later one of the two.
    #[must_use]
    pub fn after(
        before: Option<&Self>,
        cluster_id: ClusterId,
        read_at: Timestamp,
        found: BTreeMap<TrustDomain, FoundBundle>,
        is_known: impl Fn(&TrustDomain) -> bool,
    ) -> Option<Self> {
        if before.is_some_and(|before| before.read_at > read_at) {
            return None;
        }
        let held_before = |trust_domain: &TrustDomain| before.and_then(|before| before.bundles.get(trust_domain));
        let gone = before.into_iter().flat_map(|before| before.bundles.keys()).filter(|domain| !found.contains_key(*domain));
        let gone: Vec<_> = gone.map(|domain| (domain.clone(), None)).collect();
        let all = found.into_iter().map(|(domain, found)| (domain, Some(found))).chain(gone);
        let bundles = all.filter(|(domain, _)| is_known(domain)).map(|(domain, found)| {
            let same = held_before(&domain).filter(|held| digest(held.found.as_ref()) == digest(found.as_ref()));
            let since = same.map_or(read_at, |held| held.since);
            (domain, HeldBundle { found, since })
        });
        Some(Self { cluster_id, read_at, bundles: bundles.collect() })
    }

    /// What is held of a trust domain now.
    pub fn found(&self, trust_domain: &TrustDomain) -> Option<&FoundBundle> {
        self.bundles.get(trust_domain)?.found.as_ref()
    }
}

fn digest(found: Option<&FoundBundle>) -> Option<&BundleDigest> {
    found.map(|found| &found.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bundle;

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::new(name).unwrap()
    }

    fn found(name: &str, sequence_number: u64) -> FoundBundle {
        FoundBundle { digest: Bundle::empty(domain(name)).digest(), sequence_number }
    }

    fn reading(before: Option<&BundleReading>, at: i64, bundles: &[(&str, FoundBundle)]) -> Option<BundleReading> {
        let bundles = bundles.iter().map(|(name, found)| (domain(name), found.clone())).collect();
        BundleReading::after(before, "cl".parse().unwrap(), Timestamp(at), bundles, |domain| domain.as_str() != "stranger.test")
    }

    fn since(reading: &BundleReading) -> Vec<(&str, bool, i64)> {
        reading.bundles.iter().map(|(domain, held)| (domain.as_str(), held.found.is_some(), held.since.0)).collect()
    }

    #[test]
    fn a_reading_remembers_since_when_each_bundle_is_as_it_is() {
        let first = reading(None, 1, &[("b.test", found("b.test", 1)), ("c.test", found("c.test", 1))]).unwrap();
        assert_eq!(since(&first), [("b.test", true, 1), ("c.test", true, 1)]);
        let second = reading(Some(&first), 2, &[("b.test", found("b.test", 2)), ("c.test", found("other.test", 2))]).unwrap();
        assert_eq!(since(&second), [("b.test", true, 1), ("c.test", true, 2)], "a number alone makes no other bundle");
        assert_eq!(second.found(&domain("b.test")).unwrap().sequence_number, 2);
        let third = reading(Some(&second), 3, &[("c.test", found("other.test", 2))]).unwrap();
        assert_eq!(since(&third), [("b.test", false, 3), ("c.test", true, 2)]);
        let fourth = reading(Some(&third), 4, &[]).unwrap();
        assert_eq!(since(&fourth), [("b.test", false, 3), ("c.test", false, 4)], "gone since it was first missed");
        assert_eq!(reading(Some(&fourth), 3, &[]), None, "calls may overtake each other");
    }

    #[test]
    fn what_nobody_can_ask_for_is_not_kept() {
        let read = reading(None, 1, &[("stranger.test", found("stranger.test", 1))]).unwrap();
        assert!(read.bundles.is_empty());
    }

    #[test]
    fn a_digest_is_64_digits_and_says_nothing_else() {
        let digest = Bundle::empty(domain("b.test")).digest();
        assert_eq!(digest.as_str().parse::<BundleDigest>().unwrap(), digest);
        assert_eq!(digest.short().len(), 12);
        for bad in ["", "abc", &digest.as_str().to_uppercase(), &format!("{}g", &digest.as_str()[1..])] {
            assert!(bad.parse::<BundleDigest>().is_err(), "{bad}");
        }
    }
}
