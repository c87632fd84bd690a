//! What the SPIFFE agent serves for Envoys under the names that Istio's proxies ask for. Pure.
//!
//! Istio's proxies ask for `ROOTCA` and for nothing else to verify others with. SPIRE has two names for bundles: that of the own
//! trust domain's (`default_bundle_name`, `ROOTCA` by default, and it wins where both are the same) and that of all the workload's
//! (`default_all_bundles_name`, `ALL` by default). Which of them a name is, shows in two ways:
//!
//! - What it holds: a bundle of another trust domain makes it the second.
//! - How an Envoy before 1.18 is answered, which has no validator for SPIFFE: with the authorities of one bundle as a plain list, and
//!   not at all for all bundles, of which each authority could vouch for every trust domain.

use std::collections::BTreeSet;

/// The name that Istio's proxies ask for.
pub const ROOT_CA: &str = "ROOTCA";
/// What SPIRE calls all bundles by default.
pub const ALL: &str = "ALL";

/// What was answered for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// For Envoy's validator for SPIFFE: each of these trust domains with its bundle.
    Bundles(BTreeSet<String>),
    /// Authorities as a plain list.
    Plain,
    /// There is no such secret for the agent.
    Nothing,
}

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As an Envoy of today does.
    Present,
    /// As one does that has no validator for SPIFFE.
    Old,
    /// As [`Self::Present`], and with the wish for the validator, which wins over `disable_spiffe_cert_validation`.
    Insisting,
}

/// What was answered for one name in each form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    pub present: Answer,
    pub old: Answer,
    pub insisting: Answer,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    pub root_ca: Answers,
    pub all: Answers,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    AllBundles,
    OwnBundle,
    /// One of the two.
    Bundles,
    Nothing,
}

impl Answers {
    /// What a secret that is not served is like.
    pub const NONE: Self = Self { present: Answer::Nothing, old: Answer::Nothing, insisting: Answer::Nothing };

    pub fn meaning(&self) -> Meaning {
        let held = match (&self.present, &self.insisting) {
            (Answer::Bundles(held), _) | (_, Answer::Bundles(held)) => held,
            (Answer::Plain, _) | (_, Answer::Plain) => return Meaning::OwnBundle,
            _ => return Meaning::Nothing,
        };
        match self.old {
            _ if held.len() > 1 => Meaning::AllBundles,
            Answer::Nothing => Meaning::AllBundles,
            Answer::Plain => Meaning::OwnBundle,
            Answer::Bundles(_) => Meaning::Bundles,
        }
    }

    /// Whether the validator is used only by those that insist.
    fn lacks_validator(&self) -> bool {
        !matches!(self.present, Answer::Bundles(_)) && matches!(self.insisting, Answer::Bundles(_))
    }

    fn held(&self) -> Option<&BTreeSet<String>> {
        match &self.present {
            Answer::Bundles(held) => Some(held),
            _ => None,
        }
    }
}

impl Secrets {
    /// What [`ROOT_CA`] stands for.
    pub fn root_ca(&self) -> Meaning {
        match self.root_ca.meaning() {
            // A server that makes no difference between Envoys is told by what it serves.
            Meaning::Bundles => match (self.root_ca.held(), self.all.held()) {
                (Some(held), Some(all)) if held.len() < all.len() => Meaning::OwnBundle,
                _ => Meaning::Bundles,
            },
            meaning => meaning,
        }
    }

    /// Whether `disable_spiffe_cert_validation` is set.
    pub fn lacks_validator(&self) -> bool {
        self.root_ca.lacks_validator() || self.all.lacks_validator()
    }
}
