//! One id type per noun, so that the id of a cluster cannot be handed in where a trust zone's is meant.
//!
//! Ids are opaque: callers may bring their own (a federated service may carry an id chosen by its agent), so the only
//! demands are those that keep an id printable, loggable and safe as a path segment.

use crate::text::checked_text;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("an id must not be empty")]
    Empty,
    #[error("an id has at most {max} characters, this one has {length}")]
    TooLong { length: usize, max: usize },
    #[error("an id holds only ASCII letters, digits, '.', '_', '-' and ':', not {0:?}")]
    Character(char),
}

pub(crate) const MAX_ID_LENGTH: usize = 128;

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_LENGTH {
        return Err(IdError::TooLong { length: text.len(), max: MAX_ID_LENGTH });
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':'))) {
        Some(bad) => Err(IdError::Character(bad)),
        None => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        checked_text!($name, IdError, check);
    )*};
}

ids! {
    OrganizationId,
    TrustZoneId,
    ClusterId,
    AgentId,
    FederationId,
    AttestationPolicyId,
    AttestationPolicyBindingId,
    FederatedServiceId,
    AuditEventId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_opaque_but_printable() {
        for good in ["tz-V1StGXR8_Z5jdHi6B-myT", "0198c5a2-7b3f-7e55-9c41-0b2f7d6d9a10", "a", "uid:42"] {
            assert_eq!(good.parse::<ClusterId>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<ClusterId>(), Err(IdError::Empty));
        assert_eq!("a b".parse::<ClusterId>(), Err(IdError::Character(' ')));
        assert_eq!("a/b".parse::<ClusterId>(), Err(IdError::Character('/')));
        assert_eq!("x".repeat(129).parse::<ClusterId>(), Err(IdError::TooLong { length: 129, max: 128 }));
    }
}
