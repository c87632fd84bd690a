//! `cofidectl audit`

use cofide_api::connect::audit_service::ListEventsRequest;
use cofide_api::connect::audit_service::list_events_request::Filter;
use cofide_api::connect::audit_service::list_events_request::filter::{Entity, Exclude};
use cofide_api::convert::timestamp;
use cofide_api::types::audit::{EntityType, EventType, Outcome};
use cofide_api::types::pagination::PageRequest;

use crate::args::audit::{AuditCommand, ListArgs, OutcomeArg};
use crate::connection::{Connection, call};
use crate::error::Result;
use crate::printer::{Format, Printer};
use crate::view::audit::{EventView, EventsView};

/// What Connect gives at most in one page.
const LARGEST_PAGE: i32 = 1000;

pub(super) async fn run(command: AuditCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        AuditCommand::List(args) => list(args, connection, printer).await,
    }
}

async fn list(args: ListArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let filter = filter(&args);
    let page_size = if args.all { LARGEST_PAGE } else { args.limit };
    let mut page_token = args.page_token.unwrap_or_default();
    let mut events = Vec::new();
    loop {
        let pagination = Some(PageRequest { page_size, page_token });
        let request = ListEventsRequest { filter: Some(filter.clone()), pagination };
        let answer = call(connection.audit().list_events(request)).await?;
        events.extend(answer.events.iter().map(EventView::new));
        page_token = answer.pagination.unwrap_or_default().next_page_token;
        if !args.all || page_token.is_empty() {
            break;
        }
    }
    let view = EventsView { events, next_page_token: page_token };
    printer.show(&view)?;
    if printer.format == Format::Table && !view.next_page_token.is_empty() {
        printer.say(&format!("there is more: repeat the command with --page-token {}, or with --all", view.next_page_token))?;
    }
    Ok(())
}

fn filter(args: &ListArgs) -> Filter {
    let numbers = |types: &[EventType]| types.iter().map(|kind| (*kind).into()).collect();
    Filter {
        event_types: numbers(&args.types),
        entities: entities(&args.entity_types, &args.entity_ids),
        match_linkless: false,
        occurred_before: args.until.map(timestamp),
        occurred_after: args.since.map(timestamp),
        actors: args.actors.clone(),
        source_ips: args.source_ips.clone(),
        outcomes: args.outcome.iter().map(|outcome| outcome_of(*outcome).into()).collect(),
        exclude: Some(Exclude { event_types: numbers(&args.exclude_types), actors: args.exclude_actors.clone(), ..Exclude::default() }),
    }
}

/// Types alone, ids alone, or each id with each type: in the API the entries are combined with "or", on the command
/// line the two flags with "and".
fn entities(types: &[EntityType], ids: &[String]) -> Vec<Entity> {
    let any_type = [EntityType::Unspecified];
    let any_id = [String::new()];
    if types.is_empty() && ids.is_empty() {
        return Vec::new();
    }
    let types = if types.is_empty() { &any_type } else { types };
    let ids = if ids.is_empty() { &any_id } else { ids };
    let pair = |kind: EntityType, id: &String| Entity { r#type: kind.into(), id: id.clone() };
    types.iter().flat_map(|kind| ids.iter().map(move |id| pair(*kind, id))).collect()
}

fn outcome_of(outcome: OutcomeArg) -> Outcome {
    match outcome {
        OutcomeArg::Success => Outcome::Success,
        OutcomeArg::Denied => Outcome::Denied,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn filter_of(flags: &[&str]) -> Filter {
        let line = ["cofidectl", "audit", "list"].iter().chain(flags);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Audit(AuditCommand::List(args)) => filter(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_the_filter_of_the_api() {
        let filter = filter_of(&[
            "--type",
            "trust_zone_creation,federation_deletion",
            "--actor=admin",
            "--outcome=denied",
            "--since=2026-01-01T00:00:00Z",
            "--exclude-type=cluster_update",
        ]);
        assert_eq!(filter.event_types, [26, 19]);
        assert_eq!(filter.outcomes, [2]);
        assert_eq!(filter.actors, ["admin"]);
        assert_eq!(filter.occurred_after.unwrap().seconds, 1_767_225_600);
        assert_eq!(filter.exclude.unwrap().event_types, [8]);
        assert_eq!(filter.entities, []);
    }

    #[test]
    fn types_and_ids_of_objects_narrow_each_other() {
        let entity = |kind, id: &str| Entity { r#type: kind, id: id.to_owned() };
        assert_eq!(filter_of(&["--entity-type=trust_zone"]).entities, [entity(11, "")]);
        assert_eq!(filter_of(&["--entity-id=tz-1"]).entities, [entity(0, "tz-1")]);
        let both = filter_of(&["--entity-type=trust_zone,cluster", "--entity-id=x"]).entities;
        assert_eq!(both, [entity(11, "x"), entity(3, "x")]);
    }
}
