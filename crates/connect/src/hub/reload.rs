//! From the store to a snapshot: all of it at the start, then only what changed.

use cofide_core::{Change, SpiffeId};
use cofide_plan::Snapshot;
use cofide_store::{Changes, ReadTransaction, Store, StoreError};

use super::control_plane_trust;

pub(super) struct Reloaded {
    pub(super) after: Snapshot,
    pub(super) changes: Vec<Change>,
    /// Whether the changes are not all there is to know: the history did not reach back far enough.
    pub(super) is_afresh: bool,
}

pub(super) async fn everything(store: &Store, spiffe_id: &SpiffeId) -> Result<Snapshot, StoreError> {
    read(&mut store.begin_read().await?, spiffe_id).await
}

async fn read(transaction: &mut ReadTransaction, spiffe_id: &SpiffeId) -> Result<Snapshot, StoreError> {
    let mut snapshot: Snapshot = transaction.nouns().await?.into_iter().collect();
    snapshot.set_revision(transaction.revision().await?);
    if let Some(trust) = control_plane_trust(&snapshot, spiffe_id) {
        snapshot.set_control_plane_trust(trust);
    }
    Ok(snapshot)
}

/// The state after everything that has changed since `before`; `None` where nothing has. `is_same_history` is whether the
/// numbers of revisions mean what they meant: after a server has failed over to one that had not heard of the last commits, others
/// bear the same numbers.
pub(super) async fn since(
    store: &Store,
    before: &Snapshot,
    spiffe_id: &SpiffeId,
    is_same_history: bool,
) -> Result<Option<Reloaded>, StoreError> {
    let mut transaction = store.begin_read().await?;
    let revision = transaction.revision().await?;
    if is_same_history && revision == before.revision() {
        return Ok(None);
    }
    let entries = if is_same_history { transaction.changes_since(before.revision()).await? } else { None };
    let Some(entries) = entries else {
        let after = read(&mut transaction, spiffe_id).await?;
        return Ok(Some(Reloaded { after, changes: Vec::new(), is_afresh: true }));
    };
    let mut after = before.clone();
    let mut changes: Vec<Change> = Vec::with_capacity(entries.len());
    for (_, change) in entries {
        // An object that changed twice is read once: what is read is what there is now.
        if changes.contains(&change) {
            continue;
        }
        for noun in transaction.resolve(&change).await? {
            after.apply(noun);
        }
        changes.push(change);
    }
    after.set_revision(revision);
    if let Some(trust) = control_plane_trust(&after, spiffe_id)
        && before.control_plane_trust() != Some(&trust)
    {
        after.set_control_plane_trust(trust);
        changes.push(Change::ControlPlaneTrust);
    }
    Ok(Some(Reloaded { after, changes, is_afresh: false }))
}
