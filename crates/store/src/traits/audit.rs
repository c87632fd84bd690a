use std::collections::BTreeMap;

use async_trait::async_trait;
use cofide_core::Timestamp;

use crate::{AuditFilter, AuditPage, PageRequest, Result};

/// Events are written by [`Writer::commit`](crate::Writer::commit) alone.
#[async_trait]
pub trait AuditEvents: Send {
    /// One page of the events that match, the newest first. The filter must be the same for each page of a listing.
    async fn audit_events(&mut self, filter: &AuditFilter, page: &PageRequest) -> Result<AuditPage>;
    /// How many events there are of each actor that is a workload, which is to say whose name is a SPIFFE ID: agents, and
    /// whatever else has tried with a certificate.
    async fn audit_events_of_workloads(&mut self) -> Result<BTreeMap<String, u64>>;
}

#[async_trait]
pub trait AuditEventsMut: AuditEvents {
    /// Deletes events that happened before a moment; the oldest first, and at most `batch` of them. Answers how many: as
    /// long as it is `batch`, there may be more.
    async fn purge_audit_events(&mut self, before: Timestamp, batch: u32) -> Result<u64>;
    /// Deletes the oldest `batch` events of an actor. Answers how many that was.
    async fn purge_audit_events_of(&mut self, actor: &str, batch: u32) -> Result<u64>;
}
