use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use cofide_core::{AuditEvent, EntityKind, Timestamp};
use serde::Serialize;

use super::columns::Columns;
use super::connection::{Connection, Row};
use super::statement::{Select, Statement, Value, word, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::audit::Cursor;
use crate::{AuditEntity, AuditEvents, AuditEventsMut, AuditFilter, AuditPage, PageRequest, Result};

const NOUN: &str = "audit event";

const INSERT: &str = "INSERT INTO audit_event (id, occurred_at, kind, message, data, actor, source_ip, outcome, server_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING sequence";

const INSERT_LINK: &str = "INSERT INTO audit_link (event_sequence, position, entity_kind, entity_id) VALUES ($1, $2, $3, $4)";

pub(super) async fn append(connection: &mut Connection, event: &AuditEvent) -> Result<()> {
    let insert = Statement::new(INSERT)
        .bind(event.id.as_str())
        .bind(event.occurred_at.as_micros())
        .bind(word(event.kind))
        .bind(event.message.as_str())
        .bind(event.data.as_str())
        .bind(event.actor.as_str())
        .bind(event.source_ip.as_str())
        .bind(word(event.outcome))
        .bind(event.server_version.as_str());
    let sequence = insert.number(connection).await?;
    for (position, (kind, id)) in (0i64..).zip(&event.links) {
        let insert = Statement::new(INSERT_LINK).bind(sequence).bind(position).bind(word(*kind)).bind(id.as_str());
        write(connection, insert, NOUN, event.id.as_str()).await?;
    }
    Ok(())
}

fn audit_event(row: &Row, links: Vec<(EntityKind, String)>) -> Result<AuditEvent> {
    let columns = Columns::of(NOUN, row);
    Ok(AuditEvent {
        id: columns.parsed("id")?,
        occurred_at: columns.timestamp("occurred_at")?,
        kind: columns.word("kind")?,
        message: columns.plain("message")?,
        links,
        data: columns.plain("data")?,
        actor: columns.plain("actor")?,
        source_ip: columns.plain("source_ip")?,
        outcome: columns.word("outcome")?,
        server_version: columns.plain("server_version")?,
    })
}

fn words<T: Serialize + Copy>(values: &[T]) -> Vec<String> {
    values.iter().map(|value| word(*value)).collect()
}

/// `column IN (...)`, or `NOT column IN (...)`; nothing where there are no values.
fn any_of(select: &mut Select, negation: &'static str, column: &'static str, values: &[String]) {
    if values.is_empty() {
        return;
    }
    let condition = select.and().push(negation).push(column).push(" IN (");
    push_list(condition, values.iter().map(String::as_str));
}

/// The values and the closing parenthesis.
fn push_list<T: Into<Value>>(statement: &mut Statement, values: impl Iterator<Item = T>) {
    for (index, value) in values.enumerate() {
        statement.push(if index == 0 { "" } else { ", " }).push_bind(value);
    }
    statement.push(")");
}

/// `EXISTS` a link to any of the entities.
fn linked_to(query: &mut Statement, entities: &[AuditEntity]) {
    query.push("EXISTS (SELECT 1 FROM audit_link WHERE event_sequence = sequence AND (");
    for (index, entity) in entities.iter().enumerate() {
        query.push(if index == 0 { "(1 = 1" } else { " OR (1 = 1" });
        if let Some(kind) = entity.kind {
            query.push(" AND entity_kind = ").push_bind(word(kind));
        }
        if let Some(id) = &entity.id {
            query.push(" AND entity_id = ").push_bind(id.as_str());
        }
        query.push(")");
    }
    query.push("))");
}

fn matching(filter: &AuditFilter) -> Select {
    let mut select = Select::new("SELECT * FROM audit_event");
    any_of(&mut select, "", "kind", &words(&filter.kinds));
    any_of(&mut select, "", "actor", &filter.actors);
    any_of(&mut select, "", "source_ip", &filter.source_ips);
    any_of(&mut select, "", "outcome", &words(&filter.outcomes));
    if !filter.entities.is_empty() {
        let condition = select.and().push("(");
        linked_to(condition, &filter.entities);
        if filter.match_linkless {
            condition.push(" OR NOT EXISTS (SELECT 1 FROM audit_link WHERE event_sequence = sequence)");
        }
        condition.push(")");
    }
    if let Some(before) = filter.occurred_before {
        select.and().push("occurred_at < ").push_bind(before.as_micros());
    }
    if let Some(after) = filter.occurred_after {
        select.and().push("occurred_at >= ").push_bind(after.as_micros());
    }
    let exclude = &filter.exclude;
    any_of(&mut select, "NOT ", "kind", &words(&exclude.kinds));
    any_of(&mut select, "NOT ", "actor", &exclude.actors);
    any_of(&mut select, "NOT ", "source_ip", &exclude.source_ips);
    any_of(&mut select, "NOT ", "outcome", &words(&exclude.outcomes));
    if !exclude.entities.is_empty() {
        linked_to(select.and().push("NOT "), &exclude.entities);
    }
    select
}

/// The links of a page of events, by the event's sequence.
async fn links_of(connection: &mut Connection, sequences: &[i64]) -> Result<HashMap<i64, Vec<(EntityKind, String)>>> {
    let mut links: HashMap<i64, Vec<_>> = HashMap::new();
    if sequences.is_empty() {
        return Ok(links);
    }
    let mut select = Select::new("SELECT * FROM audit_link");
    push_list(select.and().push("event_sequence IN ("), sequences.iter().copied());
    for row in &select.then(" ORDER BY event_sequence, position").rows(connection).await? {
        let columns = Columns::of(NOUN, row);
        let link = (columns.word("entity_kind")?, columns.plain("entity_id")?);
        links.entry(columns.plain("event_sequence")?).or_default().push(link);
    }
    Ok(links)
}

#[async_trait]
impl<Access: Send> AuditEvents for Transaction<Access> {
    async fn audit_events(&mut self, filter: &AuditFilter, page: &PageRequest) -> Result<AuditPage> {
        filter.check()?;
        let size = page.checked_size()?;
        let mut select = matching(filter);
        if let Some(cursor) = page.cursor(filter)? {
            let condition = select.and().push("(occurred_at, sequence) < (");
            condition.push_bind(cursor.occurred_at).push(", ").push_bind(cursor.sequence).push(")");
        }
        let mut select = select.then(" ORDER BY occurred_at DESC, sequence DESC LIMIT ");
        // One more than asked for tells whether there is a next page.
        select.statement().push_bind(i64::from(size) + 1);
        let mut rows = select.rows(self.connection()).await?;
        let is_last = rows.len() <= size as usize;
        rows.truncate(size as usize);

        let sequences = rows.iter().map(|row| Columns::of(NOUN, row).plain("sequence")).collect::<Result<Vec<i64>>>()?;
        let mut links = links_of(self.connection(), &sequences).await?;
        let events = rows.iter().zip(&sequences).map(|(row, sequence)| audit_event(row, links.remove(sequence).unwrap_or_default()));
        let events = events.collect::<Result<Vec<_>>>()?;
        let next_token = match (events.last(), sequences.last()) {
            (Some(event), Some(sequence)) if !is_last => {
                Cursor { occurred_at: event.occurred_at.as_micros(), sequence: *sequence, filter: filter.fingerprint() }.to_string()
            }
            _ => String::new(),
        };
        Ok(AuditPage { events, next_token })
    }

    async fn audit_events_of_workloads(&mut self) -> Result<BTreeMap<String, u64>> {
        let rows = Statement::new(COUNT_OF_WORKLOADS).rows(self.connection()).await?;
        let count = |row: &Row| {
            let columns = Columns::of(NOUN, row);
            Ok((columns.plain("actor")?, columns.plain::<i64>("events")?.unsigned_abs()))
        };
        rows.iter().map(count).collect()
    }
}

/// The links go with their event.
const PURGE_BY_AGE: &str = "DELETE FROM audit_event WHERE sequence IN (
    SELECT sequence FROM audit_event WHERE occurred_at < $1 ORDER BY occurred_at, sequence LIMIT $2
)";

const PURGE_BY_ACTOR: &str = "DELETE FROM audit_event WHERE sequence IN (
    SELECT sequence FROM audit_event WHERE actor = $1 ORDER BY occurred_at, sequence LIMIT $2
)";

/// A range, which the index answers: '0' comes after '/'.
const COUNT_OF_WORKLOADS: &str =
    "SELECT actor, COUNT(*) AS events FROM audit_event WHERE actor >= 'spiffe://' AND actor < 'spiffe:/0' GROUP BY actor";

#[async_trait]
impl AuditEventsMut for WriteTransaction {
    async fn purge_audit_events(&mut self, before: Timestamp, batch: u32) -> Result<u64> {
        let purge = Statement::new(PURGE_BY_AGE).bind(before.as_micros()).bind(i64::from(batch));
        write(self.connection(), purge, NOUN, "of long ago").await
    }

    async fn purge_audit_events_of(&mut self, actor: &str, batch: u32) -> Result<u64> {
        let purge = Statement::new(PURGE_BY_ACTOR).bind(actor).bind(i64::from(batch));
        write(self.connection(), purge, NOUN, actor).await
    }
}
