use async_trait::async_trait;
use cofide_core::{Change, Noun, NounChange, Revision};

use crate::Result;

/// How many changes are told one by one; a reader that is further behind reads everything anew, which is cheaper by then.
pub const KEPT_CHANGES: u64 = 1_000;

#[async_trait]
pub trait Changes: Send {
    /// The newest revision that this transaction sees.
    async fn revision(&mut self) -> Result<Revision>;

    /// The changes after a revision, the oldest first.
    ///
    /// `None` where they cannot be told any more, because the reader is more than [`KEPT_CHANGES`] behind or comes from another history (the
    /// database was restored): then everything has to be read anew.
    async fn changes_since(&mut self, revision: Revision) -> Result<Option<Vec<(Revision, Change)>>>;

    /// What there is now under the ids of a change; nothing for a change that is not about a stored object.
    async fn resolve(&mut self, change: &Change) -> Result<Vec<NounChange>>;

    /// Every object on which plans depend.
    async fn nouns(&mut self) -> Result<Vec<Noun>>;
}
