//! Selectors as people write them, against those that a process can carry here.

use cofide_core::Selector;

use super::UNIX;

/// Whether a process of this machine could carry the selector. An entry with one that none can carry gives nobody an
/// identity, which its author finds out late.
///
/// Entries that come over the API are not held to it: whoever drives a server may keep entries for other attestors there.
///
/// # Errors
///
/// Another type than `unix`, a key that `unix` does not have, a value that does not fit the key, each with what was
/// probably meant.
pub fn check(selector: &Selector) -> Result<(), String> {
    if selector.kind != UNIX {
        // The type forgotten, or misspelt.
        let meant = [selector.to_string(), selector.value.clone()].map(|value| Selector { kind: UNIX.to_owned(), value });
        let remedy = match meant.iter().find(|meant| check(meant).is_ok()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "it attests processes of its own machine, by unix selectors alone, as in unix:uid:1000".to_owned(),
        };
        return Err(format!("{selector}: this server knows no {} selectors; {remedy}", selector.kind));
    }
    selector.check().map_err(|error| format!("{selector}: {error}"))?;
    match selector.value.strip_prefix("path:") {
        Some(path) if !path.starts_with('/') => {
            Err(format!("{selector}: the path of an executable begins with a slash, as the kernel tells it; give the whole path"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_no_process_here_can_carry_is_refused_with_what_was_meant() {
        let checked = |text: &str| check(&text.parse().unwrap());
        for good in ["unix:uid:1000", "unix:user:alice", "unix:path:/usr/bin/a:b", "unix:sha256:00"] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for (bad, expected) in [
            ("unix:pth:/x", "did you mean unix:path:/x?"),
            ("unix:uuid:1000", "did you mean unix:uid:1000?"),
            ("unix:uid:alice", "unix:user takes a name"),
            ("unix:path:bin/x", "give the whole path"),
            ("path:/x", "did you mean unix:path:/x?"),
            ("uid:1000", "did you mean unix:uid:1000?"),
            ("unx:uid:1000", "did you mean unix:uid:1000?"),
            ("k8s:ns:demo", "unix selectors alone"),
        ] {
            let error = checked(bad).expect_err(bad);
            assert!(error.contains(expected) && error.contains(bad), "{bad}: {error}");
        }
    }
}
