//! The datastore: entries, foreign bundles and federation relationships, in memory and in one file.
//!
//! Readers take an immutable snapshot. A change works on a copy, is written to disk, and only then becomes the snapshot
//! that everybody sees: what was answered survives a crash, and what failed to be written never happened. The file is
//! written as a whole with each change, which is right for some thousands of entries and no more.

mod content;
mod entry;
mod file;
mod relationship;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofide_core::{Bundle, TrustDomain};
use cofide_runtime::files::{self, FileError, Mode};
use tokio::sync::{Mutex, watch};

pub use content::{Content, ContentError, Created, DeleteMode};
pub use entry::{Entry, EntryId, MAX_HINT_LENGTH, check_selector, member_id, workload_id};
pub use relationship::{FederationRelationship, parse_bundle_endpoint_url};

#[derive(Debug, thiserror::Error)]
pub enum DatastoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the data file {} cannot be used: {reason}; it was left as it is: put back a copy, or move it away to start without entries",
        path.display()
    )]
    Content { path: PathBuf, reason: String },
    #[error("the task that writes the data file was stopped")]
    Stopped,
}

/// Clones share the content.
#[derive(Clone, Debug)]
pub struct Datastore {
    path: Arc<Path>,
    content: Arc<watch::Sender<Arc<Content>>>,
    /// One change at a time.
    writer: Arc<Mutex<()>>,
}

impl Datastore {
    /// Reads the file, where there is one. A file that cannot be understood is an error and stays untouched.
    pub fn open(path: &Path, trust_domain: TrustDomain, static_entries: Vec<Entry>) -> Result<Self, DatastoreError> {
        let mut content = Content::new(trust_domain, static_entries);
        match files::read_secret(path) {
            Ok(bytes) => {
                let problem = |reason| DatastoreError::Content { path: path.to_owned(), reason };
                file::decode(&bytes, &mut content).map_err(problem)?;
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { path: path.into(), content: Arc::new(watch::Sender::new(Arc::new(content))), writer: Arc::default() })
    }

    /// The content at this moment.
    pub fn read(&self) -> Arc<Content> {
        self.content.borrow().clone()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Content>> {
        self.content.subscribe()
    }

    /// Applies `change` as a whole: persisted, then visible. A change that changes nothing costs nothing.
    pub async fn update<T>(&self, change: impl FnOnce(&mut Content) -> T) -> Result<T, DatastoreError> {
        let guard = self.writer.clone().lock_owned().await;
        let current = self.read();
        let mut next = current.as_ref().clone();
        let outcome = change(&mut next);
        if next == *current {
            return Ok(outcome);
        }
        let (path, content) = (self.path.clone(), self.content.clone());
        // The whole step runs to its end even if the caller goes away in the middle: disk and memory must agree.
        let written = tokio::task::spawn_blocking(move || {
            files::write_atomic(&path, &file::encode(&next), Mode::Secret)?;
            content.send_replace(Arc::new(next));
            drop(guard);
            Ok(())
        });
        written.await.unwrap_or(Err(DatastoreError::Stopped))?;
        Ok(outcome)
    }
}

impl cofide_svid::BundleSource for Datastore {
    /// Foreign bundles; the server's own is its authority's to give.
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.content.borrow().bundle(trust_domain).cloned()
    }
}

#[cfg(test)]
mod tests;
