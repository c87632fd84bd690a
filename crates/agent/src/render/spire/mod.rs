//! Objects for spire-controller-manager, which makes of them what a SPIRE server should hold. Pure.
//!
//! ```text
//!  trust ─────────> federation   ClusterFederatedTrustDomain   relationship, and the bundle to begin with
//!  pods ──────────> identity     ClusterSPIFFEID               entries of pods, as they come and go
//!  entries ───────> identity     ClusterStaticEntry            one entry
//! ```
//!
//! Each object has one value for one input, so what is equal is written once. Every field that grants something is written,
//! also where it grants nothing, so that a hand that adds to it is noticed.

mod federation;
mod identity;
mod object;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cofide_core::TrustDomain;

use super::object::ObjectName;
use crate::spire::model::Desired;

pub use federation::federation;
pub use identity::{Identities, identities};
pub use object::{BINDING, FEDERATION, Owner, SpireObject, WAVES};

/// Whom the objects are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpireSettings {
    /// The class of spire-controller-manager; empty where it takes objects without one.
    pub class_name: String,
}

/// The objects of all trust domains that can have one.
pub fn federations(own: &TrustDomain, desired: &Desired, settings: &SpireSettings) -> BTreeMap<ObjectName, SpireObject> {
    let objects = desired.trust.iter().filter_map(|(domain, trust)| federation(own, domain, trust, settings));
    objects.map(|object| (object.name.clone(), object)).collect()
}
