use async_trait::async_trait;
use cofide_core::Timestamp;

use crate::{AuditFilter, AuditPage, PageRequest, Result};

/// Events are written by [`Writer::commit`](crate::Writer::commit) alone.
#[async_trait]
pub trait AuditEvents: Send {
    /// One page of the events that match, the newest first. The filter must be the same for each page of a listing.
    async fn audit_events(&mut self, filter: &AuditFilter, page: &PageRequest) -> Result<AuditPage>;
}

#[async_trait]
pub trait AuditEventsMut: AuditEvents {
    /// Deletes events that happened before a moment, and those beyond the newest `keep`; the oldest first, and at most
    /// `batch` of them. Answers how many: as long as it is `batch`, there may be more.
    async fn purge_audit_events(&mut self, before: Timestamp, keep: u64, batch: u32) -> Result<u64>;
}
