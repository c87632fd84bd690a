//! Receipts on their way to the store.
//!
//! An agent's ACK must not wait for the disk, and a thousand agents that acknowledge one change at once are best written
//! together: receipts queue here and are stored in batches.

use std::collections::HashMap;
use std::time::Duration;

use cofide_core::Receipt;
use cofide_store::{ReceiptFilter, Receipts, ReceiptsMut, Store, StoreError, WriteTransaction};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::router::Entry;

const QUEUE: usize = 16_384;
const BATCH: usize = 512;
/// Nobody acknowledges a second time what is lost here, so what the database cannot take now it takes later.
const RETRY: Duration = Duration::from_secs(1);

/// Clones share the queue.
#[derive(Clone)]
pub struct ReceiptLog {
    queue: mpsc::Sender<Entry>,
}

impl ReceiptLog {
    /// Writes until `shutdown`, then what is still queued.
    pub fn start(store: Store, tasks: &TaskTracker, shutdown: CancellationToken) -> Self {
        let (queue, mut receiver) = mpsc::channel(QUEUE);
        tasks.spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            loop {
                let received = tokio::select! {
                    biased;
                    received = receiver.recv_many(&mut batch, BATCH) => received,
                    () = shutdown.cancelled() => return,
                };
                if received == 0 {
                    return;
                }
                let mut is_waiting = false;
                while let Err(error) = write(&store, &batch).await {
                    if !matches!(error, StoreError::Away(_) | StoreError::Busy(_) | StoreError::Full(_)) {
                        tracing::error!(%error, receipts = batch.len(), "receipts are lost; the status of their resources is out of date");
                        break;
                    }
                    if !std::mem::replace(&mut is_waiting, true) {
                        tracing::warn!(%error, "receipts wait for the database; until then the status of their resources is out of date");
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
                batch.clear();
            }
        });
        Self { queue }
    }

    pub(super) fn record(&self, entries: Vec<Entry>) {
        for entry in entries {
            if self.queue.try_send(entry).is_err() {
                tracing::error!("too many receipts at once; the status of some resources is out of date");
                return;
            }
        }
    }
}

async fn write(store: &Store, batch: &[Entry]) -> Result<(), StoreError> {
    let mut transaction = store.begin_write().await?;
    for entry in batch {
        match entry {
            Entry::Put(receipt) => transaction.put_receipt(receipt).await?,
            Entry::Held(receipts) => put_news(&mut transaction, receipts).await?,
            Entry::Remove { agent_id, type_url, resource_name } => {
                transaction.delete_receipt(agent_id, type_url, resource_name).await?;
            }
        }
    }
    transaction.commit(None, Vec::new()).await.map(drop)
}

/// Most agents come back with what they have acknowledged before: that costs a read and no write.
async fn put_news(transaction: &mut WriteTransaction, receipts: &[Receipt]) -> Result<(), StoreError> {
    let Some(first) = receipts.first() else { return Ok(()) };
    let filter =
        ReceiptFilter { cluster_id: Some(first.cluster_id.clone()), type_url: Some(first.type_url.clone()), ..ReceiptFilter::default() };
    let known: HashMap<String, Receipt> =
        transaction.receipts(&filter).await?.into_iter().map(|receipt| (receipt.resource_name.clone(), receipt)).collect();
    let is_news = |receipt: &&Receipt| {
        known.get(&receipt.resource_name).is_none_or(|known| known.version != receipt.version || known.outcome != receipt.outcome)
    };
    for receipt in receipts.iter().filter(is_news) {
        transaction.put_receipt(receipt).await?;
    }
    Ok(())
}
