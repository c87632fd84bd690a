//! Names that people choose, and the DNS names that are built from them.

use crate::Port;
use crate::text::checked_text;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must not be empty")]
    Empty,
    #[error("has {length} characters, at most {max} are allowed")]
    TooLong { length: usize, max: usize },
    #[error("contains {found:?}; allowed are {allowed}")]
    Character { found: char, allowed: &'static str },
    #[error("must begin and end with {0}")]
    Edge(&'static str),
    #[error("contains an empty label (two dots in a row, or a dot at an end)")]
    EmptyLabel,
}

/// The name of a trust zone, a cluster or an attestation policy: 1 to 253 characters, ASCII letters, digits, `.`, `_`
/// and `-`, beginning and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A DNS label after RFC 1123 as Kubernetes uses it: 1 to 63 characters, lower-case letters, digits and `-`, beginning
/// and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsLabel(String);

/// A DNS host name: dot-separated [`DnsLabel`]s, at most 253 characters, lower case, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

const MAX_NAME_LENGTH: usize = 253;
const MAX_LABEL_LENGTH: usize = 63;

fn check_length(text: &str, max: usize) -> Result<(), NameError> {
    match text.chars().count() {
        0 => Err(NameError::Empty),
        length if length > max => Err(NameError::TooLong { length, max }),
        _ => Ok(()),
    }
}

fn check_name(text: &str) -> Result<(), NameError> {
    check_length(text, MAX_NAME_LENGTH)?;
    let allowed = "ASCII letters, digits, '.', '_' and '-'";
    if let Some(found) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(NameError::Character { found, allowed });
    }
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !is_edge(text.chars().next()) || !is_edge(text.chars().last()) {
        return Err(NameError::Edge("a letter or a digit"));
    }
    Ok(())
}

fn check_label(text: &str) -> Result<(), NameError> {
    check_length(text, MAX_LABEL_LENGTH)?;
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = "lower-case letters, digits and '-'";
    if let Some(found) = text.chars().find(|&c| !(is_edge(c) || c == '-')) {
        return Err(NameError::Character { found, allowed });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Edge("a lower-case letter or a digit"));
    }
    Ok(())
}

fn check_hostname(text: &str) -> Result<(), NameError> {
    check_length(text, MAX_NAME_LENGTH)?;
    text.split('.').try_for_each(|label| if label.is_empty() { Err(NameError::EmptyLabel) } else { check_label(label) })
}

checked_text!(Name, NameError, check_name);
checked_text!(DnsLabel, NameError, check_label);
checked_text!(Hostname, NameError, check_hostname);

impl Hostname {
    /// The server name in the form in which Istio's clients ask a gateway in AUTO_PASSTHROUGH mode for a service:
    /// `outbound_.<port>_.<subset>_.<hostname>`, with nothing for "no subset".
    pub fn istio_server_name(&self, port: Port) -> String {
        format!("outbound_.{port}_._.{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_what_a_person_can_type_and_a_path_can_hold() {
        for good in ["trust-zone-a", "A", "prod.eu_1"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a/b", "ä", &"a".repeat(254)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_follows_rfc_1123() {
        assert!("server".parse::<DnsLabel>().is_ok());
        assert!("a".repeat(63).parse::<DnsLabel>().is_ok());
        for bad in ["", "Server", "a.b", "-a", "a-", "a_b", &"a".repeat(64)] {
            assert!(bad.parse::<DnsLabel>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hostname_has_no_empty_or_long_labels() {
        assert!("server.demo.local.domain".parse::<Hostname>().is_ok());
        for bad in ["", ".", "a..b", "a.", ".a", "a.B", &format!("{}.b", "a".repeat(64)), &vec!["abcdefgh"; 29].join(".")] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
    }

    #[test]
    fn istio_asks_for_a_hostname_with_its_port_and_no_subset() {
        let hostname: Hostname = "server.demo.a.test".parse().unwrap();
        assert_eq!(hostname.istio_server_name(Port::try_from(8443).unwrap()), "outbound_.8443_._.server.demo.a.test");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in ".{0,300}") {
            if let Ok(name) = text.parse::<Name>() { prop_assert_eq!(name.as_str(), &text); }
            if let Ok(label) = text.parse::<DnsLabel>() { prop_assert!(label.as_str().parse::<Hostname>().is_ok()); }
        }
    }
}
