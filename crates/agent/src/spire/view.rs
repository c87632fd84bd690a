//! The entries of the server as they were read last, with what the agent has changed in them since.
//!
//! To read ten thousand entries because one binding changed would be work without proportion, so a run relies on the reading of
//! an earlier one. It is read anew
//!
//! - at the interval, which finds what others changed by hand,
//! - after a run that ended half way, which may have changed more than it knows,
//! - when the server is another one: none of the authorities in its bundle was there at the last reading,
//! - when the server refuses something: it may know better what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cofide_core::Bundle;
use tokio::time::Instant;

use super::client::EntryResult;
use super::diff::EntryChange;
use super::model::Entry;

#[derive(Debug)]
pub struct EntryView {
    interval: Duration,
    reading: Option<Reading>,
}

/// All entries, and of which server and when they were read.
#[derive(Clone, Debug)]
pub struct Reading {
    pub entries: Vec<Entry>,
    authorities: BTreeSet<Vec<u8>>,
    at: Instant,
}

impl EntryView {
    /// With nothing read yet. What is read is good for `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { interval, reading: None }
    }

    pub fn is_read(&self) -> bool {
        self.reading.is_some()
    }

    pub fn forget(&mut self) {
        self.reading = None;
    }

    /// Takes the reading out, if a run may rely on it; the run puts it back when it has come to its end.
    pub fn take(&mut self, own: &Bundle, now: Instant) -> Option<Reading> {
        let mut reading = self.reading.take().filter(|reading| now.duration_since(reading.at) < self.interval)?;
        let authorities = authorities(own);
        if reading.authorities.is_disjoint(&authorities) {
            return None;
        }
        reading.authorities = authorities;
        Some(reading)
    }

    pub fn put(&mut self, reading: Reading) {
        self.reading = Some(reading);
    }
}

impl Reading {
    /// `own` is the bundle of the server that the entries were read from.
    pub fn new(entries: Vec<Entry>, own: &Bundle, at: Instant) -> Self {
        Self { entries, authorities: authorities(own), at }
    }

    /// Follows what was changed; the results are those of the changes, in their order.
    pub fn follow(&mut self, changes: &[EntryChange], results: &[EntryResult]) {
        let done = changes.iter().zip(results).filter_map(|(change, result)| Some((change, result.as_ref().ok()?)));
        let (mut updated, mut deleted) = (BTreeMap::new(), BTreeSet::new());
        for (change, id) in done {
            match change {
                EntryChange::Create { key, content, .. } => {
                    self.entries.push(Entry { id: id.clone(), key: key.clone(), content: content.clone() });
                }
                EntryChange::Update { content, .. } => {
                    updated.insert(id, content);
                }
                EntryChange::Delete { .. } => {
                    deleted.insert(id);
                }
            }
        }
        if updated.is_empty() && deleted.is_empty() {
            return;
        }
        self.entries.retain_mut(|entry| {
            if let Some(content) = updated.get(&entry.id) {
                entry.content = (*content).clone();
            }
            !deleted.contains(&entry.id)
        });
    }
}

fn authorities(bundle: &Bundle) -> BTreeSet<Vec<u8>> {
    bundle.x509_authorities.iter().map(|authority| authority.der.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spire::model::{EntryContent, EntryKey};
    use cofide_core::{TrustDomain, X509Authority};
    use tonic::Status;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn bundle(authorities: &[u8]) -> Bundle {
        let x509_authorities = authorities.iter().map(|der| X509Authority { der: vec![*der], tainted: false }).collect();
        Bundle { x509_authorities, ..Bundle::empty(TrustDomain::new("a.test").unwrap()) }
    }

    fn entry(id: &str, hint: &str) -> Entry {
        let key = EntryKey { spiffe_id: format!("spiffe://a.test/{id}"), parent_id: String::new(), selectors: BTreeSet::new() };
        let content = EntryContent { dns_names: Vec::new(), federates_with: BTreeSet::new(), store_svid: false, hint: hint.to_owned() };
        Entry { id: id.to_owned(), key, content }
    }

    #[test]
    fn a_reading_is_relied_on_within_its_interval_and_for_its_own_server() {
        let now = Instant::now();
        let cases: [(&str, Duration, &[u8], bool); 4] = [
            ("the same server", Duration::from_secs(59), &[1], true),
            ("its authority rotates", Duration::from_secs(59), &[1, 2], true),
            ("too old", INTERVAL, &[1], false),
            ("its database was lost", Duration::ZERO, &[2], false),
        ];
        for (name, age, authorities, relied_on) in cases {
            let mut view = EntryView::new(INTERVAL);
            view.put(Reading::new(vec![entry("x", "")], &bundle(&[1]), now));
            assert_eq!(view.take(&bundle(authorities), now + age).is_some(), relied_on, "{name}");
            assert!(!view.is_read(), "{name}: a run that does not come to its end leaves nothing to rely on");
        }
    }

    #[test]
    fn two_rotations_between_two_readings_are_followed_step_by_step() {
        let (mut view, now) = (EntryView::new(INTERVAL), Instant::now());
        view.put(Reading::new(Vec::new(), &bundle(&[1]), now));
        for step in [[1, 2], [2, 3], [3, 4]] {
            let reading = view.take(&bundle(&step), now).unwrap_or_else(|| panic!("{step:?}"));
            view.put(reading);
        }
    }

    #[test]
    fn only_what_the_server_did_is_followed() {
        let mut reading = Reading::new(vec![entry("one", "a"), entry("two", "b"), entry("three", "c")], &bundle(&[1]), Instant::now());
        let update = |id: &str, hint: &str| {
            let Entry { id, key, content } = entry(id, hint);
            EntryChange::Update { id, spiffe_id: key.spiffe_id, content, bindings: BTreeSet::new() }
        };
        let delete = |id: &str| EntryChange::Delete { id: id.to_owned(), spiffe_id: String::new() };
        let Entry { key, content, .. } = entry("four", "d");
        let create = EntryChange::Create { key, content, bindings: BTreeSet::new() };
        let refused = || Err(Status::internal("no"));
        let changes = [create.clone(), create, update("one", "new"), update("two", "new"), delete("two"), delete("three")];
        let results = [Ok("id-4".to_owned()), refused(), Ok("one".to_owned()), refused(), refused(), Ok("three".to_owned())];
        reading.follow(&changes, &results);
        let left: Vec<_> = reading.entries.iter().map(|entry| (entry.id.as_str(), entry.content.hint.as_str())).collect();
        assert_eq!(left, [("one", "new"), ("two", "b"), ("id-4", "d")]);
    }
}
