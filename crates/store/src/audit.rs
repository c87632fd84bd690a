//! How the audit log is listed: newest first, filtered, page by page.

use std::fmt;
use std::str::FromStr;

use cofide_core::{AuditEvent, EntityKind, EventKind, Outcome, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Result, StoreError};

/// Which events: fields that are set must all match, of the values in a list any may match, and what is excluded is left
/// out at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditFilter {
    pub kinds: Vec<EventKind>,
    /// Events with a link to any of these.
    pub entities: Vec<AuditEntity>,
    /// Adds the events without links to those that `entities` selects. Without `entities` nothing is left to add.
    pub match_linkless: bool,
    /// Exclusive, so that two windows that meet share no event.
    pub occurred_before: Option<Timestamp>,
    /// Inclusive.
    pub occurred_after: Option<Timestamp>,
    /// In the form in which events carry them: a subject, a SPIFFE ID, `system`, `join-token`, `anonymous`.
    pub actors: Vec<String>,
    /// The empty text stands for events without an address.
    pub source_ips: Vec<String>,
    pub outcomes: Vec<Outcome>,
    pub exclude: AuditExclude,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditExclude {
    pub kinds: Vec<EventKind>,
    pub entities: Vec<AuditEntity>,
    pub actors: Vec<String>,
    pub source_ips: Vec<String>,
    pub outcomes: Vec<Outcome>,
}

/// A kind of object, one object, or one object of a kind; at least one of the two is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditEntity {
    pub kind: Option<EntityKind>,
    pub id: Option<String>,
}

/// A page as it is asked for: `size` 0 means 100, more than 1000 means 1000; an empty token means the first page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    pub size: i32,
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    pub events: Vec<AuditEvent>,
    /// The token of the next page; empty at the end.
    pub next_token: String,
}

pub(crate) const DEFAULT_PAGE_SIZE: u32 = 100;
pub(crate) const MAX_PAGE_SIZE: u32 = 1000;

impl PageRequest {
    pub(crate) fn checked_size(&self) -> Result<u32> {
        match u32::try_from(self.size) {
            Ok(0) => Ok(DEFAULT_PAGE_SIZE),
            Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
            Err(_) => Err(StoreError::PageSize(self.size)),
        }
    }

    /// Where the page before ended; `None` for the first page.
    pub(crate) fn cursor(&self, filter: &AuditFilter) -> Result<Option<Cursor>> {
        if self.token.is_empty() {
            return Ok(None);
        }
        let cursor: Cursor = self.token.parse()?;
        if cursor.filter == filter.fingerprint() { Ok(Some(cursor)) } else { Err(StoreError::PageTokenOfOtherFilter) }
    }
}

impl AuditFilter {
    pub(crate) fn fingerprint(&self) -> [u8; 8] {
        let text = serde_json::to_vec(self).expect("a filter holds only texts, numbers and lists of them");
        let digest = Sha256::digest(&text);
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        short
    }

    pub(crate) fn check(&self) -> Result<()> {
        let mut entities = self.entities.iter().chain(&self.exclude.entities);
        if entities.any(|entity| entity.kind.is_none() && entity.id.is_none()) { Err(StoreError::EmptyEntityFilter) } else { Ok(()) }
    }
}

/// The last event of a page, and the filter under which it was the last. Events are ordered by time and then by the order
/// in which they were written, so events that come in between two pages shift nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) occurred_at: i64,
    pub(crate) sequence: i64,
    pub(crate) filter: [u8; 8],
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{}", self.occurred_at, self.sequence, hex::encode(self.filter))
    }
}

impl FromStr for Cursor {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 24];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| StoreError::PageToken)?;
        let part = |at: usize| <[u8; 8]>::try_from(&bytes[at..at + 8]).map_err(|_| StoreError::PageToken);
        Ok(Self { occurred_at: i64::from_be_bytes(part(0)?), sequence: i64::from_be_bytes(part(8)?), filter: part(16)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for (occurred_at, sequence) in [(0, 0), (i64::MAX, i64::MIN), (-1, 1), (1_700_000_000_000_000, 42)] {
            let cursor = Cursor { occurred_at, sequence, filter: AuditFilter::default().fingerprint() };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
    }

    #[test]
    fn a_page_size_has_a_default_and_a_maximum_and_is_never_negative() {
        let size = |size| PageRequest { size, token: String::new() }.checked_size();
        assert_eq!([size(0).unwrap(), size(1).unwrap(), size(1000).unwrap(), size(1001).unwrap()], [100, 1, 1000, 1000]);
        assert!(matches!(size(-1), Err(StoreError::PageSize(-1))));
    }
}
