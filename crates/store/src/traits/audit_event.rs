use async_trait::async_trait;

use crate::{AuditFilter, AuditPage, PageRequest, Result};

/// Events are written by [`Writer::commit`](crate::Writer::commit) alone.
#[async_trait]
pub trait AuditEvents: Send {
    /// One page of the events that match, the newest first. The filter must be the same for each page of a listing.
    async fn audit_events(&mut self, filter: &AuditFilter, page: &PageRequest) -> Result<AuditPage>;
}
