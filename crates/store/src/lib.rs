//! The control plane's state: one trait per noun, one transaction per change.
//!
//! ```text
//!   Store ── begin_read ──> ReadTransaction    one consistent state at one revision, however long it is looked at
//!         └─ begin_write ─> WriteTransaction   the only writer; what it has done is seen by itself alone ...
//!                              │
//!                              └─ commit(change, audit events) ──> revision + 1   ... until all of it is there at once
//!
//!   revisions()  ──> watch: "there is a new revision"
//!   changes_since(r) ──> Change, ...  ── resolve ──> NounChange, ...   what there is now under those ids
//! ```
//!
//! - A transaction that is dropped without a commit leaves nothing behind.
//! - A commit writes the objects, the revision, the [`Change`](cofide_core::Change) and the audit events together: there is
//!   no change without its event and no event without its change.
//! - When `commit` has answered, the change survives a crash of the program and of the machine (write-ahead log, flushed).
//! - Uniqueness and references are checked with words and then once more by constraints of the database.
//! - Secrets are not kept: a join token is its hash.
//!
//! The traits know nothing of SQLite. The suite in `tests/` is written against them ([`Database`]), so that another
//! implementation is held to the same behaviour. Statements use `$1` parameters and no dialect.

mod audit;
mod error;
mod filter;
mod sqlite;
mod traits;

pub use audit::{AuditEntity, AuditExclude, AuditFilter, AuditPage, PageRequest};
pub use error::{NounName, Result, StoreError};
pub use filter::{
    AgentFilter, AttestationPolicyBindingFilter, AttestationPolicyFilter, ClusterFilter, FederatedServiceFilter, FederationFilter,
    OrganizationFilter, ReceiptFilter, TrustZoneFilter,
};
pub use sqlite::{ReadTransaction, Store, WriteTransaction};
pub use traits::*;
