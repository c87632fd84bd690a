//! Tells the log of processes that ask for an identity and match no entry.
//!
//! Such a process asks again and again, several times a second if its author was impatient, and any user may start one.
//! So each is told of once, by owner and executable, until it has matched an entry; and of all together only so many are
//! told of in a minute.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofide_core::{Selector, TrustDomain};

use crate::attestation::UNIX;

/// Kinds of processes that are remembered; beyond, all are forgotten and told of anew.
const REMEMBERED: usize = 1024;
const PERIOD: Duration = Duration::from_secs(60);
/// Lines in each period.
const LINES: usize = 10;

/// The selectors by which people tell processes apart, in the order in which they are shown.
const SHOWN: [&str; 3] = ["uid:", "gid:", "path:"];

#[derive(Debug)]
pub struct Unmatched(Mutex<State>);

#[derive(Debug)]
struct State {
    told: HashSet<Vec<String>>,
    period: Instant,
    lines: usize,
}

impl Default for Unmatched {
    fn default() -> Self {
        Self(Mutex::new(State { told: HashSet::new(), period: Instant::now(), lines: 0 }))
    }
}

impl Unmatched {
    /// Notes that a process with these selectors has no identity.
    pub fn note(&self, trust_domain: &TrustDomain, pid: i32, selectors: &BTreeSet<Selector>) {
        let shown = shown(selectors);
        if self.is_to_be_told(&shown, Instant::now()) {
            tracing::warn!(
                %trust_domain,
                pid,
                selectors = ?shown,
                "a process asked for an identity, and no entry has selectors that are all among its own; {}",
                next_step(&shown)
            );
        }
    }

    /// Notes that a process with these selectors has one: should it lose it, that is news again.
    pub fn matched(&self, selectors: &BTreeSet<Selector>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.told.is_empty() {
            state.told.remove(&shown(selectors));
        }
    }

    fn is_to_be_told(&self, shown: &[String], now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told.contains(shown) {
            return false;
        }
        if now.duration_since(state.period) >= PERIOD {
            (state.period, state.lines) = (now, 0);
        }
        // One that finds no room is not remembered either, and has another chance when it asks again.
        if state.lines >= LINES {
            return false;
        }
        state.lines += 1;
        if state.told.len() >= REMEMBERED {
            state.told.clear();
        }
        state.told.insert(shown.to_vec());
        true
    }
}

/// The selectors that tell a process from others, as an entry would name them.
fn shown(selectors: &BTreeSet<Selector>) -> Vec<String> {
    let of_kind =
        |prefix: &'static str| selectors.iter().filter(move |selector| selector.kind == UNIX && selector.value.starts_with(prefix));
    SHOWN.into_iter().flat_map(of_kind).map(ToString::to_string).collect()
}

/// The commands that would give the process an identity.
fn next_step(shown: &[String]) -> String {
    // The group adds little to what the user says, and is in the line already.
    let chosen: Vec<_> = shown.iter().filter(|selector| !selector.starts_with("unix:gid:")).map(|selector| quoted(selector)).collect();
    let flags = |flag: &str| chosen.iter().map(|selector| format!(" {flag} {selector}")).collect::<String>();
    format!(
        "if it should have one: cofidectl attestation-policy add static --name NAME --spiffe-id-path ns/NAMESPACE/sa/NAME --parent-id-path \
         spire/agent{}, then cofidectl attestation-policy-binding add --trust-zone ZONE --attestation-policy NAME; without Connect: \
         trust-zone-server entry create --spiffe-id-path /ns/NAMESPACE/sa/NAME{}",
        flags("--selectors"),
        flags("--selector")
    )
}

/// For a shell and for a log: whoever starts a process chooses its path.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '_' | '-' | '+');
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.escape_debug().to_string().replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(uid: u32, path: &str) -> BTreeSet<Selector> {
        let texts = [format!("unix:uid:{uid}"), "unix:gid:5".into(), "unix:user:x".into(), format!("unix:path:{path}")];
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_process_is_told_of_once_until_it_has_had_an_identity() {
        let (unmatched, now) = (Unmatched::default(), Instant::now());
        let process = selectors(1000, "/usr/bin/client");
        let tell = || unmatched.is_to_be_told(&shown(&process), now);
        assert!(tell());
        assert!(!tell());
        assert!(unmatched.is_to_be_told(&shown(&selectors(1001, "/usr/bin/client")), now), "another user is another process");
        unmatched.matched(&process);
        assert!(tell());
    }

    #[test]
    fn many_processes_fill_no_log_and_have_their_turn_later() {
        let (unmatched, now) = (Unmatched::default(), Instant::now());
        let told = |from: u32, now| (from..from + 100).filter(|&uid| unmatched.is_to_be_told(&shown(&selectors(uid, "/x")), now)).count();
        assert_eq!(told(0, now), LINES);
        assert_eq!(told(50, now), 0);
        assert_eq!(told(50, now + PERIOD), LINES);
    }

    #[test]
    fn the_next_step_can_be_pasted_and_forges_no_line() {
        let text = next_step(&shown(&selectors(1000, "/usr/bin/client")));
        assert!(text.contains("--selectors unix:uid:1000 --selectors unix:path:/usr/bin/client, then"), "{text}");
        assert!(text.ends_with("--selector unix:uid:1000 --selector unix:path:/usr/bin/client"), "{text}");
        let hostile = next_step(&["unix:path:/tmp/a b'; rm -rf ~\n2026 INFO".into()]);
        assert!(hostile.contains(r"'unix:path:/tmp/a b\'\''; rm -rf ~\n2026 INFO'"), "{hostile}");
        assert!(!hostile.contains('\n'));
    }
}
