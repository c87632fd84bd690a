//! SPIFFE IDs and trust domains, and the few IDs whose paths mean something to the system.
//!
//! The grammar is the `spiffe` crate's. It folds upper case and accepts a full ID where a trust domain is meant, as
//! the reference libraries do for lookups; a name that a person writes into a manifest or a command is held to the
//! letter of the specification instead (SPIFFE-ID, section 2.1), so that one trust domain has one spelling.

pub use spiffe::{SpiffeId, TrustDomain};

use crate::Name;

/// The path of the control plane's own SPIFFE ID, unless configured otherwise.
pub const CONNECT_SPIFFE_ID_PATH: &str = "/ns/connect/sa/cofide-connect-api";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustDomainError {
    #[error("must not be empty")]
    Empty,
    #[error("has {0} characters, at most 255 are allowed")]
    TooLong(usize),
    #[error("contains {0:?}; allowed are lower-case letters, digits, '.', '-' and '_'")]
    Character(char),
    #[error("contains an empty label (two dots in a row, or a dot at an end)")]
    EmptyLabel,
    #[error("{0}")]
    Spiffe(String),
}

/// Parses a trust domain name strictly: lower case, no scheme, no path, no empty labels, at most 255 characters.
pub fn parse_trust_domain(text: &str) -> Result<TrustDomain, TrustDomainError> {
    if text.is_empty() {
        return Err(TrustDomainError::Empty);
    }
    if text.len() > 255 {
        return Err(TrustDomainError::TooLong(text.chars().count()));
    }
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if let Some(found) = text.chars().find(|&c| !is_allowed(c)) {
        return Err(TrustDomainError::Character(found));
    }
    if text.split('.').any(str::is_empty) {
        return Err(TrustDomainError::EmptyLabel);
    }
    TrustDomain::new(text).map_err(|error| TrustDomainError::Spiffe(error.to_string()))
}

/// What the SPIFFE ID of an agent says about it.
///
/// Two path shapes are an agent's: `/ns/cofide/sa/cofide-agent`, which names no cluster, and
/// `/cluster/<cluster>/ns/cofide/sa/cofide-agent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    pub trust_domain: TrustDomain,
    pub cluster_name: Option<Name>,
}

impl AgentIdentity {
    const SUFFIX: &'static str = "/ns/cofide/sa/cofide-agent";

    /// The SPIFFE ID that says this.
    pub fn spiffe_id(&self) -> SpiffeId {
        let Self { trust_domain, cluster_name } = self;
        let cluster = cluster_name.as_ref().map(|name| format!("/cluster/{name}")).unwrap_or_default();
        // A name begins and ends with a letter or digit, so it is never one of the relative segments that a path may not have.
        SpiffeId::new(format!("spiffe://{trust_domain}{cluster}{}", Self::SUFFIX)).expect("a name is a valid segment of a path")
    }

    /// `None` where the ID is not an agent's.
    pub fn from_spiffe_id(id: &SpiffeId) -> Option<Self> {
        let prefix = id.path().strip_suffix(Self::SUFFIX)?;
        let cluster_name = match prefix {
            "" => None,
            prefix => Some(prefix.strip_prefix("/cluster/")?.parse().ok()?),
        };
        Some(Self { trust_domain: id.trust_domain().clone(), cluster_name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_domain_has_one_spelling() {
        assert_eq!(parse_trust_domain("local.domain").unwrap().as_str(), "local.domain");
        assert_eq!(parse_trust_domain("Local.domain"), Err(TrustDomainError::Character('L')));
        assert_eq!(parse_trust_domain("spiffe://local.domain"), Err(TrustDomainError::Character(':')));
        assert_eq!(parse_trust_domain("lоcal.domain"), Err(TrustDomainError::Character('о')), "a Cyrillic look-alike");
        assert_eq!(parse_trust_domain("local.domain."), Err(TrustDomainError::EmptyLabel));
        assert_eq!(parse_trust_domain(""), Err(TrustDomainError::Empty));
        assert_eq!(parse_trust_domain(&"a".repeat(256)), Err(TrustDomainError::TooLong(256)));
    }

    #[test]
    fn only_two_path_shapes_are_an_agents() {
        let of = |id: &str| {
            let agent = AgentIdentity::from_spiffe_id(&SpiffeId::new(id).unwrap())?;
            assert_eq!(agent.spiffe_id().to_string(), id, "and back");
            Some(agent.cluster_name)
        };
        let cluster = |name: &str| Some(Some(name.parse::<Name>().unwrap()));
        assert_eq!(of("spiffe://a.test/ns/cofide/sa/cofide-agent"), Some(None));
        assert_eq!(of("spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent"), cluster("one"));
        for other in [
            "/ns/cofide/sa/cofide-agent/x",
            "/x/ns/cofide/sa/cofide-agent",
            "/cluster/ns/cofide/sa/cofide-agent",
            "/cluster/a/b/ns/cofide/sa/cofide-agent",
            "/ns/demo/sa/cofide-agent",
        ] {
            assert_eq!(of(&format!("spiffe://a.test{other}")), None, "{other}");
        }
    }
}
