//! What a SPIRE server holds, as far as the agent cares.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{AttestationPolicyBindingId, Bundle, BundleEndpoint, BundleEndpointProfile, LabelSelector, Name, Selector, TrustDomain};

/// Entries of the agent carry a hint that begins with this and goes on with the id of the binding they come from.
/// Everything else in the server belongs to somebody else and is never touched.
pub const HINT_PREFIX: &str = "cofide:";

/// What SPIRE itself treats as the identity of an entry: it refuses a second one with the same three.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// A full SPIFFE ID.
    pub spiffe_id: String,
    /// A full SPIFFE ID.
    pub parent_id: String,
    pub selectors: BTreeSet<Selector>,
}

/// The part of an entry that can change while it stays the same entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryContent {
    /// In order: the first becomes the common name of the certificate.
    pub dns_names: Vec<String>,
    pub federates_with: BTreeSet<TrustDomain>,
    pub store_svid: bool,
    pub hint: String,
}

/// A registration entry in the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Given by the server.
    pub id: String,
    pub key: EntryKey,
    pub content: EntryContent,
}

impl Entry {
    pub fn is_ours(&self) -> bool {
        self.content.hint.starts_with(HINT_PREFIX)
    }
}

/// How the server fetches the bundle of a federated trust domain by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relationship {
    pub trust_domain: TrustDomain,
    pub endpoint_url: String,
    pub profile: RelationshipProfile,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelationshipProfile {
    HttpsWeb,
    /// The SPIFFE ID that the bundle endpoint must present.
    HttpsSpiffe {
        endpoint_spiffe_id: String,
    },
}

impl Relationship {
    /// The relationship toward `trust_domain`. With `https_spiffe` the endpoint is the SPIRE server of that
    /// domain, unless another one is named.
    pub fn new(trust_domain: TrustDomain, endpoint: &BundleEndpoint) -> Self {
        let profile = match endpoint.profile {
            BundleEndpointProfile::HttpsWeb => RelationshipProfile::HttpsWeb,
            BundleEndpointProfile::HttpsSpiffe => {
                RelationshipProfile::HttpsSpiffe { endpoint_spiffe_id: endpoint.server(&trust_domain).to_string() }
            }
        };
        Self { trust_domain, endpoint_url: endpoint.url.clone(), profile }
    }

    /// Whether two relationships fetch the same bundle from the same place. A server may write a URL in another way than
    /// it was told (`https://host` and `https://host/`); taking that for a difference would mean to update it for ever.
    pub fn is_same(&self, other: &Self) -> bool {
        let url = |text: &str| url::Url::parse(text).map_or_else(|_| text.to_owned(), String::from);
        self.trust_domain == other.trust_domain && self.profile == other.profile && url(&self.endpoint_url) == url(&other.endpoint_url)
    }
}

/// One reading of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub entries: Vec<Entry>,
    pub relationships: BTreeMap<TrustDomain, Relationship>,
    pub bundles: BTreeMap<TrustDomain, Bundle>,
}

/// Whether two bundles of a foreign trust domain hold the same authorities, as far as a SPIRE server can tell: it keeps no mark
/// of a tainted authority for a foreign domain, and what its polling fetches has no word for the end of a key either. Until its
/// issuer revokes an authority, it vouches for it.
pub fn same_foreign_authorities(one: &Bundle, other: &Bundle) -> bool {
    let unmarked = |bundle: &Bundle| {
        let mut bundle = bundle.clone();
        bundle.x509_authorities.iter_mut().for_each(|authority| authority.tainted = false);
        for authority in &mut bundle.jwt_authorities {
            (authority.tainted, authority.expires_at) = (false, 0);
        }
        bundle
    };
    unmarked(one).same_authorities(&unmarked(other))
}

/// An entry that the plan asks for. `content.federates_with` holds every domain asked for, whether its bundle is there
/// or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEntry {
    pub key: EntryKey,
    pub content: EntryContent,
    /// The bindings that ask for it; several may ask for the same.
    pub bindings: BTreeSet<AttestationPolicyBindingId>,
}

/// Pods that are to have an identity each. Only a controller that sees the pods can make entries of it. These carry no hint: they
/// are the controller's, and over the server's own API this agent leaves them alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPods {
    pub binding: AttestationPolicyBindingId,
    pub policy_name: Name,
    /// One without a requirement selects everything.
    pub namespace_selector: LabelSelector,
    pub pod_selector: LabelSelector,
    /// Of the whole SPIFFE ID, in the subset that [`super::template`] lets through.
    pub spiffe_id_template: String,
    pub dns_name_templates: Vec<String>,
    /// Every domain asked for, whether its bundle is there or not.
    pub federates_with: BTreeSet<TrustDomain>,
}

/// A trust domain to federate with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredTrust {
    /// Absent while its owner has not delivered it: identities are issued without it and gain it when it comes.
    pub bundle: Option<Bundle>,
    pub relationship: Option<Relationship>,
}

/// Everything that the plan asks of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub entries: Vec<DesiredEntry>,
    /// By binding.
    pub pods: Vec<DesiredPods>,
    pub trust: BTreeMap<TrustDomain, DesiredTrust>,
    /// Registrations that cannot become entries here, each with the reason.
    pub refused: BTreeMap<AttestationPolicyBindingId, String>,
    /// Registrations that the server has no means for, each with the reason.
    pub unsupported: BTreeMap<AttestationPolicyBindingId, String>,
}

/// The federated trust domains that the agent has set up in the server, with the version of the bundle that it last
/// wrote there. SPIRE has no place for such a mark, so the agent keeps it beside the plan.
pub type OwnedTrust = BTreeMap<TrustDomain, BundleMark>;

/// Stands for the authorities of a bundle; see [`BundleMark::of`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct BundleMark(Option<String>);

impl BundleMark {
    /// No bundle written yet.
    pub fn none() -> Self {
        Self(None)
    }

    /// A hash over the authorities in a fixed order, so that equal bundles have equal marks.
    pub fn of(bundle: &Bundle) -> Self {
        use sha2::{Digest, Sha256};
        let mut x509: Vec<_> = bundle.x509_authorities.iter().map(|authority| (&authority.der, authority.tainted)).collect();
        x509.sort();
        let mut jwt: Vec<_> = bundle.jwt_authorities.iter().collect();
        jwt.sort();
        let mut hash = Sha256::new();
        for (der, tainted) in x509 {
            hash.update((der.len() as u64).to_be_bytes());
            hash.update(der);
            hash.update([u8::from(tainted)]);
        }
        for key in jwt {
            for field in [key.key_id.as_bytes(), &key.public_key] {
                hash.update((field.len() as u64).to_be_bytes());
                hash.update(field);
            }
            hash.update(key.expires_at.to_be_bytes());
            hash.update([u8::from(key.tainted)]);
        }
        Self(Some(hex::encode(&hash.finalize()[..16])))
    }
}
