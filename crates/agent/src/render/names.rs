//! Names of objects and values of labels, which are shorter than what they stand for.

use sha2::{Digest, Sha256};

/// Both are at most this long: a name so that it fits wherever it is put into a label.
const MAX_LENGTH: usize = 63;
const DIGEST_LENGTH: usize = 10;

/// `cofide-<readable>-<digest of identity>`: people find it, and no two identities meet.
pub(super) fn object(readable: &str, identity: &[&str]) -> String {
    let digest = digest(identity);
    let room = MAX_LENGTH - "cofide-".len() - 1 - DIGEST_LENGTH;
    let readable = readable.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let readable = readable.trim_matches('-');
    match readable.get(..room).unwrap_or(readable).trim_end_matches('-') {
        "" => format!("cofide-{digest}"),
        readable => format!("cofide-{readable}-{digest}"),
    }
}

/// The text itself where a label can hold it.
pub(super) fn label(text: &str) -> String {
    if text.len() <= MAX_LENGTH && is_label_value(text) {
        return text.to_owned();
    }
    let readable: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let readable = readable.get(..MAX_LENGTH - 1 - DIGEST_LENGTH).unwrap_or(&readable).trim_matches('-');
    format!("{readable}-{}", digest(&[text])).trim_start_matches('-').to_owned()
}

/// Apart from its length.
pub(crate) fn is_label_value(text: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    is_edge(text.chars().next())
        && is_edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn digest(identity: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in identity {
        hasher.update(part.as_bytes());
        // None of the parts holds it, so `a` `bc` and `ab` `c` differ.
        hasher.update([0]);
    }
    let mut digest = hex::encode(hasher.finalize());
    digest.truncate(DIGEST_LENGTH);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_says_what_it_is_for() {
        assert_eq!(object("server.demo.a.test", &["server.demo.a.test"]), "cofide-server-demo-a-test-1e35421c3e");
        assert!(object("/Team_A/server", &["x"]).starts_with("cofide-team-a-server-"));
        assert_eq!(label("0198c5a2-7b3f-7e55-9c41-0b2f7d6d9a10"), "0198c5a2-7b3f-7e55-9c41-0b2f7d6d9a10");
    }

    #[test]
    fn what_looks_alike_when_shortened_is_told_apart() {
        let (one, other) = (format!("{}-one", "a".repeat(80)), format!("{}-other", "a".repeat(80)));
        assert_ne!(object(&one, &[&one]), object(&other, &[&other]));
        assert_ne!(label(&one), label(&other));
        assert_ne!(object("a.b", &["a.b"]), object("a-b", &["a-b"]));
        assert_ne!(object("x", &["a", "bc"]), object("x", &["ab", "c"]));
    }

    proptest! {
        #[test]
        fn every_name_and_label_is_one_that_kubernetes_takes(text in "[a-zA-Z0-9._/-]{0,253}", id in "[A-Za-z0-9._:-]{1,128}") {
            let name = object(&text, &[&text]);
            prop_assert!(name.len() <= 63 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", name);
            prop_assert!(!name.starts_with('-') && !name.ends_with('-'));
            let label = label(&id);
            prop_assert!(label.len() <= 63 && is_label_value(&label), "{}", label);
        }
    }
}
