//! What changed, in ids; and the objects themselves, in whatever kind, as they are handed from where they are kept to
//! where decisions are made.
//!
//! A [`Change`] is written beside the change itself and says only where to look; a [`NounChange`] is what was found
//! there. A reader that lags therefore never acts on an old value: it looks at what is there now.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AttestationPolicy, AttestationPolicyBinding, AttestationPolicyBindingId, AttestationPolicyId, Cluster, ClusterId, FederatedService,
    FederatedServiceId, Federation, FederationId, Hostname, TrustDomain, TrustZone, TrustZoneId,
};

/// What one committed transaction touched. It names enough to find everything that depends on it even where the object
/// is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Created, updated or deleted. A deletion takes the zone's bindings and its federations on either side with it.
    TrustZone(TrustZoneId),
    /// The zone's bundle or its bundle endpoint, and nothing else of it.
    BundleOf(TrustZoneId),
    /// Created, updated or deleted. A deletion takes the cluster's agent and services with it.
    Cluster(ClusterId),
    Federation {
        id: FederationId,
        trust_zone_id: TrustZoneId,
        remote_trust_zone_id: TrustZoneId,
    },
    AttestationPolicy(AttestationPolicyId),
    AttestationPolicyBinding {
        id: AttestationPolicyBindingId,
        trust_zone_id: TrustZoneId,
    },
    FederatedService {
        id: FederatedServiceId,
        hostname: Hostname,
        /// The domains it was exported to before, is exported to now, or both.
        #[serde(with = "trust_domains")]
        trust_domains: BTreeSet<TrustDomain>,
    },
    /// The control plane's own identity or authorities.
    ControlPlaneTrust,
}

impl Change {
    /// For a federated service that was created (`before` is absent), updated, or deleted (`after` is absent).
    ///
    /// `None` where both are absent.
    pub fn of_federated_service(before: Option<&FederatedService>, after: Option<&FederatedService>) -> Option<Self> {
        let service = after.or(before)?;
        let exports =
            |service: Option<&FederatedService>| service.map(|service| service.exported_trust_domains.clone()).unwrap_or_default();
        let trust_domains = exports(before).union(&exports(after)).cloned().collect();
        Some(Self::FederatedService { id: service.id.clone(), hostname: service.hostname.clone(), trust_domains })
    }

    pub fn of_federation(federation: &Federation) -> Self {
        Self::Federation {
            id: federation.id.clone(),
            trust_zone_id: federation.trust_zone_id.clone(),
            remote_trust_zone_id: federation.remote_trust_zone_id.clone(),
        }
    }

    pub fn of_attestation_policy_binding(binding: &AttestationPolicyBinding) -> Self {
        Self::AttestationPolicyBinding { id: binding.id.clone(), trust_zone_id: binding.trust_zone_id.clone() }
    }
}

/// Any object on which a cluster's plan depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noun {
    TrustZone(Arc<TrustZone>),
    Cluster(Arc<Cluster>),
    Federation(Arc<Federation>),
    AttestationPolicy(Arc<AttestationPolicy>),
    AttestationPolicyBinding(Arc<AttestationPolicyBinding>),
    FederatedService(Arc<FederatedService>),
}

/// The id of a [`Noun`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NounId {
    TrustZone(TrustZoneId),
    Cluster(ClusterId),
    Federation(FederationId),
    AttestationPolicy(AttestationPolicyId),
    AttestationPolicyBinding(AttestationPolicyBindingId),
    FederatedService(FederatedServiceId),
}

/// An object as it is now, or that it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NounChange {
    Put(Noun),
    Remove(NounId),
}

macro_rules! nouns {
    ($($noun:ident),* $(,)?) => {
        impl Noun {
            pub fn id(&self) -> NounId {
                match self {
                    $(Self::$noun(noun) => NounId::$noun(noun.id.clone()),)*
                }
            }
        }

        $(
            impl From<$noun> for Noun {
                fn from(noun: $noun) -> Self {
                    Self::$noun(Arc::new(noun))
                }
            }

            impl From<$noun> for NounChange {
                fn from(noun: $noun) -> Self {
                    Self::Put(noun.into())
                }
            }
        )*
    };
}

nouns!(TrustZone, Cluster, Federation, AttestationPolicy, AttestationPolicyBinding, FederatedService);

/// A trust domain is its name wherever it is written down.
mod trust_domains {
    use std::collections::BTreeSet;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::{TrustDomain, parse_trust_domain};

    pub(super) fn serialize<S: Serializer>(domains: &BTreeSet<TrustDomain>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(domains.iter().map(TrustDomain::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<TrustDomain>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let parse = |name: &String| parse_trust_domain(name).map_err(|error| D::Error::custom(format!("trust domain {name:?} {error}")));
        names.iter().map(parse).collect()
    }
}
