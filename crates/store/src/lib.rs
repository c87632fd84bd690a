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
//! - A join token is kept as its hash. What the control plane signs with is kept here where several replicas share one
//!   database ([`ControlPlaneSecrets`]), and else in a file.
//!
//! There are two databases: a SQLite file, and PostgreSQL, which several replicas of Connect may use at once. The traits know of
//! neither, and the suite in `tests/` holds both to the same behaviour. `sql` has the statements of each noun, once: they use
//! `$1` parameters and what both dialects have. What is not the same is in `sqlite`, in `postgres`, and in the folders of
//! `migrations`.

mod audit;
mod error;
mod filter;
mod migrations;
mod postgres;
mod sql;
mod sqlite;
mod store;
mod traits;

pub use audit::{AuditEntity, AuditExclude, AuditFilter, AuditPage, PageRequest};
pub use error::{NounName, Result, StoreError};
pub use filter::{
    AgentFilter, AttestationPolicyBindingFilter, AttestationPolicyFilter, BundleReadingFilter, ClusterFilter, FederatedServiceFilter,
    FederationFilter, OrganizationFilter, ReceiptFilter, TrustZoneFilter,
};
pub use postgres::{ConnectionString, ConnectionStringError};
pub use sql::{ReadTransaction, WriteTransaction};
pub use store::Store;
pub use traits::*;
