//! Who did what.

use std::time::SystemTime;

use cofide_core::{AuditEvent, EntityKind, EventKind, Outcome, Timestamp};
use cofide_store::{AuditEvents, AuditFilter, AuditPage, PageRequest};
use serde_json::Value;

use super::App;
use crate::caller::CallContext;
use crate::error::Result;
use crate::id;

/// The present, as objects and events carry it.
pub fn now() -> Timestamp {
    SystemTime::now().into()
}

pub fn server_version() -> String {
    cofide_runtime::build_info::VERSION.to_owned()
}

/// An event about a change that is about to be committed. `data` is a snapshot of the object for people and programs
/// that read the log later; it holds no secret.
pub(super) fn event(
    context: &CallContext,
    kind: EventKind,
    message: String,
    links: impl IntoIterator<Item = (EntityKind, String)>,
    data: &Value,
) -> AuditEvent {
    AuditEvent {
        id: id::audit_event(),
        occurred_at: now(),
        kind,
        message,
        links: links.into_iter().collect(),
        data: data.to_string(),
        actor: context.actor().to_string(),
        source_ip: context.source_ip.clone(),
        outcome: Outcome::Success,
        server_version: server_version(),
    }
}

impl App {
    /// The audit log, newest first, page by page.
    pub async fn audit_events(&self, filter: &AuditFilter, page: &PageRequest) -> Result<AuditPage> {
        Ok(self.read().await?.audit_events(filter, page).await?)
    }
}
