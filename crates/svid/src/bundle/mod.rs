//! Trust bundles: who vouches for whom, and the format in which trust domains tell each other.

mod jwks;
pub mod package;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use cofide_core::{Bundle, TrustDomain};

pub use jwks::{JwksError, MAX_JWKS_SIZE, from_jwks, to_jwks};

/// Where verification looks up the authorities of a trust domain. `None` means that the domain is not trusted.
pub trait BundleSource: Send + Sync + std::fmt::Debug {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>>;
}

/// The bundles that are held at this moment, one for each trust domain. Readers never wait for long: a bundle is
/// replaced as a whole.
#[derive(Debug, Default)]
pub struct BundleSet(RwLock<BTreeMap<TrustDomain, Arc<Bundle>>>);

impl BundleSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the bundle in the place of the one for its trust domain. Answers whether anything changed. Whether the new
    /// one may replace the old one ([`Bundle::may_replace`]) is for the caller to ask: it depends on where it came from.
    pub fn set(&self, bundle: Bundle) -> bool {
        let mut bundles = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if bundles.get(&bundle.trust_domain).is_some_and(|held| **held == bundle) {
            return false;
        }
        bundles.insert(bundle.trust_domain.clone(), Arc::new(bundle));
        true
    }

    /// Ends the trust in a domain. Answers whether there was any.
    pub fn remove(&self, trust_domain: &TrustDomain) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(trust_domain).is_some()
    }

    /// Trusts exactly these, from one moment to the next.
    pub fn replace_all(&self, bundles: impl IntoIterator<Item = Bundle>) {
        let bundles = bundles.into_iter().map(|bundle| (bundle.trust_domain.clone(), Arc::new(bundle))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = bundles;
    }

    /// All bundles in the order of their trust domains, as they are now.
    pub fn all(&self) -> Vec<Arc<Bundle>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl BundleSource for BundleSet {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(trust_domain).cloned()
    }
}

impl FromIterator<Bundle> for BundleSet {
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        let set = Self::new();
        set.replace_all(bundles);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_an_equal_bundle_changes_nothing() {
        let domain = TrustDomain::new("a.test").unwrap();
        let set = BundleSet::new();
        assert!(set.set(Bundle::empty(domain.clone())));
        assert!(!set.set(Bundle::empty(domain.clone())));
        assert!(set.set(Bundle { sequence_number: 1, ..Bundle::empty(domain.clone()) }));
        assert!(set.remove(&domain));
        assert!(!set.remove(&domain));
        assert_eq!(set.bundle(&domain), None);
    }
}
