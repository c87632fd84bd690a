//! Events of the audit log.

use cofide_api::types::audit::{EntityLink, Event, EventType, Outcome};
use serde::Serialize;
use serde_json::Value;

use super::{moment, or_nothing};
use crate::printer::{Table, View};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventView {
    pub id: String,
    pub occurred_at: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    pub outcome: String,
    pub actor: String,
    pub source_ip: String,
    pub message: String,
    pub entities: Vec<EntityView>,
    /// A snapshot of the object.
    pub data: Value,
    pub server_version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntityView {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
}

/// `EVENT_TYPE_TRUST_ZONE_CREATION` is `trust_zone_creation`, as filters take it.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

impl EventView {
    pub fn new(event: &Event) -> Self {
        let entity = |link: &EntityLink| EntityView { kind: word(link.r#type().as_str_name(), "ENTITY_TYPE_"), id: link.id.clone() };
        Self {
            id: event.id.clone(),
            occurred_at: moment!(event.occurred_at),
            kind: match event.r#type() {
                EventType::Unspecified => "other".to_owned(),
                kind => word(kind.as_str_name(), "EVENT_TYPE_"),
            },
            outcome: match event.outcome() {
                Outcome::Unspecified => "unknown".to_owned(),
                outcome => word(outcome.as_str_name(), "OUTCOME_"),
            },
            actor: event.actor.clone(),
            source_ip: event.source_ip.clone(),
            message: event.message.clone(),
            entities: event.links.iter().map(entity).collect(),
            data: match event.data.as_slice() {
                [] => Value::Null,
                data => serde_json::from_slice(data).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(data).into_owned())),
            },
            server_version: event.server_version.clone(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct EventsView {
    pub events: Vec<EventView>,
    /// Empty at the end of the log.
    pub next_page_token: String,
}

impl View for EventsView {
    fn tables(&self) -> Vec<Table> {
        let row = |event: &EventView| {
            vec![
                or_nothing(event.occurred_at.as_deref()),
                event.kind.clone(),
                event.outcome.clone(),
                event.actor.clone(),
                or_nothing(Some(&event.source_ip)),
                event.message.clone(),
            ]
        };
        vec![Table::new(["Time", "Type", "Outcome", "Actor", "Source IP", "Message"]).rows(self.events.iter().map(row))]
    }
}
