//! A trust bundle: the authorities with which identities of one trust domain are verified.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{BundleDigest, TrustDomain, X509Authority};

/// The authorities of one trust domain (SPIFFE Trust Domain and Bundle, section 4).
///
/// A bundle speaks for its own trust domain only; nothing in the system pools the authorities of two.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    pub trust_domain: TrustDomain,
    pub x509_authorities: Vec<X509Authority>,
    pub jwt_authorities: Vec<JwtAuthority>,
    /// Seconds after which a consumer should look again; 0 where the issuer gives no hint.
    pub refresh_hint: u64,
    /// Grows with each change of the authorities at their issuer; 0 where the issuer does not count.
    pub sequence_number: u64,
}

/// A key that signs JWT-SVIDs of a trust domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JwtAuthority {
    pub key_id: String,
    /// DER of the SubjectPublicKeyInfo (PKIX).
    pub public_key: Vec<u8>,
    /// Seconds since the Unix epoch; 0 where the key does not expire.
    pub expires_at: i64,
    pub tainted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("the bundle is for trust domain {found}, expected {expected}")]
    OtherTrustDomain { expected: TrustDomain, found: TrustDomain },
    #[error("the bundle of {trust_domain} has no X.509 authority")]
    NoX509Authority { trust_domain: TrustDomain },
    #[error("the bundle of {trust_domain} has sequence number {found}, which is older than {held}")]
    OlderSequence { trust_domain: TrustDomain, held: u64, found: u64 },
}

impl Bundle {
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, x509_authorities: Vec::new(), jwt_authorities: Vec::new(), refresh_hint: 0, sequence_number: 0 }
    }

    /// Whether two bundles verify the same identities; the order of authorities, the hint and the sequence number do
    /// not matter to that.
    pub fn same_authorities(&self, other: &Self) -> bool {
        fn sorted<T: Ord>(list: &[T]) -> Vec<&T> {
            let mut list: Vec<_> = list.iter().collect();
            list.sort();
            list
        }
        self.trust_domain == other.trust_domain
            && sorted(&self.x509_authorities) == sorted(&other.x509_authorities)
            && sorted(&self.jwt_authorities) == sorted(&other.jwt_authorities)
    }

    /// A hash over the keys that verify identities: the X.509 authorities and the JWT keys with their ids, each in a fixed
    /// order. Two bundles of one trust domain with the same digest verify the same identities.
    ///
    /// Taint, expiry, hint and sequence number are left out: not every way on which a bundle travels can carry them (the
    /// SPIFFE bundle format has no word for the first two), and they do not change who is believed.
    pub fn digest(&self) -> BundleDigest {
        let mut x509: Vec<_> = self.x509_authorities.iter().map(|authority| authority.der.as_slice()).collect();
        x509.sort_unstable();
        x509.dedup();
        let mut jwt: Vec<_> = self.jwt_authorities.iter().map(|key| (key.key_id.as_bytes(), key.public_key.as_slice())).collect();
        jwt.sort_unstable();
        jwt.dedup();
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(self.trust_domain.as_str().as_bytes());
        field(&(x509.len() as u64).to_be_bytes());
        x509.into_iter().for_each(&mut field);
        for (key_id, public_key) in jwt {
            field(key_id);
            field(public_key);
        }
        BundleDigest::from_sha256(hash.finalize().into())
    }

    /// Whether this bundle may take the place of `held`: same trust domain, not emptied, not older. An issuer that has
    /// counted does not stop: else any old bundle, told without its number, would be a way back in time.
    pub fn may_replace(&self, held: &Self) -> Result<(), BundleError> {
        if self.trust_domain != held.trust_domain {
            return Err(BundleError::OtherTrustDomain { expected: held.trust_domain.clone(), found: self.trust_domain.clone() });
        }
        if self.x509_authorities.is_empty() && !held.x509_authorities.is_empty() {
            return Err(BundleError::NoX509Authority { trust_domain: self.trust_domain.clone() });
        }
        if self.sequence_number < held.sequence_number {
            return Err(BundleError::OlderSequence {
                trust_domain: self.trust_domain.clone(),
                held: held.sequence_number,
                found: self.sequence_number,
            });
        }
        Ok(())
    }
}

// Certificates are public but long: in a log line their count says enough.
impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("trust_domain", &self.trust_domain.as_str())
            .field("x509_authorities", &self.x509_authorities.len())
            .field("jwt_authorities", &self.jwt_authorities.len())
            .field("refresh_hint", &self.refresh_hint)
            .field("sequence_number", &self.sequence_number)
            .finish()
    }
}

impl fmt::Debug for JwtAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtAuthority({}, tainted: {})", self.key_id, self.tainted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(trust_domain: &str, authorities: &[u8], sequence_number: u64) -> Bundle {
        let x509_authorities = authorities.iter().map(|byte| X509Authority { der: vec![*byte], tainted: false }).collect();
        Bundle { x509_authorities, sequence_number, ..Bundle::empty(TrustDomain::new(trust_domain).unwrap()) }
    }

    #[test]
    fn a_bundle_is_replaced_only_by_a_newer_one_of_its_own_domain() {
        let held = bundle("a.test", &[1], 5);
        assert_eq!(bundle("a.test", &[1, 2], 6).may_replace(&held), Ok(()));
        assert!(matches!(bundle("a.test", &[2], 0).may_replace(&held), Err(BundleError::OlderSequence { held: 5, found: 0, .. })));
        let uncounted = bundle("a.test", &[1], 0);
        assert_eq!(bundle("a.test", &[2], 0).may_replace(&uncounted), Ok(()), "0 means that the issuer does not count");
        assert_eq!(bundle("a.test", &[2], 1).may_replace(&uncounted), Ok(()), "and it may begin to");
        assert!(matches!(bundle("a.test", &[2], 4).may_replace(&held), Err(BundleError::OlderSequence { .. })));
        assert!(matches!(bundle("a.test", &[], 6).may_replace(&held), Err(BundleError::NoX509Authority { .. })));
        assert!(matches!(bundle("b.test", &[2], 6).may_replace(&held), Err(BundleError::OtherTrustDomain { .. })));
    }

    #[test]
    fn a_digest_stands_for_the_keys_and_nothing_else() {
        let one = bundle("a.test", &[1, 2], 5);
        let mut tainted = bundle("a.test", &[2, 1, 1], 9);
        tainted.x509_authorities[0].tainted = true;
        assert_eq!(one.digest(), tainted.digest());
        let key = |id: &str| JwtAuthority { key_id: id.into(), public_key: vec![2], expires_at: 0, tainted: false };
        let with_key = |id: &str| Bundle { jwt_authorities: vec![key(id)], ..one.clone() };
        let others = [bundle("a.test", &[1], 5), bundle("b.test", &[1, 2], 5), with_key("k"), with_key("l")];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(one.digest(), other.digest());
            assert!(others[..index].iter().all(|before| before.digest() != other.digest()));
        }
    }

    #[test]
    fn order_and_counters_do_not_make_other_authorities() {
        assert!(bundle("a.test", &[1, 2], 5).same_authorities(&bundle("a.test", &[2, 1], 9)));
        assert!(!bundle("a.test", &[1, 2], 5).same_authorities(&bundle("a.test", &[1], 5)));
        assert!(!bundle("a.test", &[1], 5).same_authorities(&bundle("b.test", &[1], 5)));
    }
}
