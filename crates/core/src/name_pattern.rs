//! Patterns that name several objects at once, also those that are yet to come.

use crate::text::checked_text;
use crate::{Name, NameError};

/// A [`Name`] in which `*` stands for any number of characters, also none: `trust-zone-*`, `*-prod`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamePatternError {
    #[error("has no '*'; a name without one names one object only")]
    NoStar,
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("has {found} '*', at most {MAX_STARS} are allowed")]
    Stars { found: usize },
}

/// More say nothing that fewer could not.
const MAX_STARS: usize = 8;

fn check_pattern(text: &str) -> Result<(), NamePatternError> {
    let found = text.matches('*').count();
    if found == 0 {
        return Err(NamePatternError::NoStar);
    }
    if found > MAX_STARS {
        return Err(NamePatternError::Stars { found });
    }
    // What the stars stand for may be a single letter: then all that holds for a name holds for the pattern.
    text.replace('*', "a").parse::<Name>()?;
    Ok(())
}

checked_text!(NamePattern, NamePatternError, check_pattern);

impl NamePattern {
    /// Whether a text is meant as a pattern and not as a name.
    pub fn is_meant(text: &str) -> bool {
        text.contains('*')
    }

    pub fn matches(&self, name: &Name) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.as_str().strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let last = parts.pop().unwrap_or_default();
        // The earliest place for each part leaves the most for those that follow.
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<NamePattern>().unwrap().matches(&name.parse().unwrap())
    }

    #[test]
    fn a_star_stands_for_any_number_of_characters() {
        for (pattern, yes, no) in [
            ("*", &["a", "trust-zone-b"][..], &[][..]),
            ("trust-zone-*", &["trust-zone-b", "trust-zone-b-2"], &["trust-zone", "my-trust-zone-b"]),
            ("*-prod", &["eu-prod", "a-b-prod"], &["prod", "eu-prod-2"]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["acb", "ab", "bc"]),
            ("ab*ba", &["abba", "abxba"], &["aba"]),
            ("a*", &["a"], &["b"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} matches {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} does not match {name}");
            }
        }
    }

    #[test]
    fn what_could_match_no_name_is_no_pattern() {
        for bad in ["", "trust-zone-b", "-*", "*-", "a b*", "ä*", "*/x", "*********", &format!("{}*", "a".repeat(253))] {
            assert!(bad.parse::<NamePattern>().is_err(), "{bad}");
        }
        assert!(NamePattern::is_meant("a*") && !NamePattern::is_meant("a"));
    }

    /// The textbook definition, character by character.
    fn model(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|taken| model(rest, &name[taken..])),
            Some((wanted, rest)) => name.split_first().is_some_and(|(found, left)| wanted == found && model(rest, left)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab*]{1,8}", name in "[ab]{1,10}") {
            if let Ok(parsed) = pattern.parse::<NamePattern>() {
                prop_assert_eq!(parsed.matches(&name.parse().unwrap()), model(pattern.as_bytes(), name.as_bytes()));
            }
        }
    }
}
