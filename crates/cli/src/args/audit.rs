//! `cofidectl audit`

use clap::{Args, Subcommand, ValueEnum};
use cofide_api::types::audit::{EntityType, EventType};
use cofide_core::Timestamp;

use crate::time::parse_moment;

#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// List events, newest first
    #[command(after_help = "Example:\n  cofidectl audit list --type federation_creation --since 24h\n  \
                            cofidectl audit list --outcome denied --limit 20")]
    List(ListArgs),
}

/// Filters are combined with "and"; several values of one filter with "or".
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Kind of event, as in trust_zone_creation; comma-separated or repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = event_type)]
    pub types: Vec<EventType>,
    /// Kind of object, as in trust_zone; comma-separated or repeated
    #[arg(long = "entity-type", value_name = "TYPE", value_delimiter = ',', value_parser = entity_type)]
    pub entity_types: Vec<EntityType>,
    /// Id of an object; comma-separated or repeated
    #[arg(long = "entity-id", value_name = "ID", value_delimiter = ',')]
    pub entity_ids: Vec<String>,
    /// Who did it; comma-separated or repeated
    #[arg(long = "actor", value_name = "ACTOR", value_delimiter = ',')]
    pub actors: Vec<String>,
    /// Where the call came from; comma-separated or repeated
    #[arg(long = "source-ip", value_name = "IP", value_delimiter = ',')]
    pub source_ips: Vec<String>,
    /// Whether it was allowed
    #[arg(long)]
    pub outcome: Option<OutcomeArg>,
    /// Not before this moment: a time as in 2026-01-31T12:00:00Z, or a time ago as in 90m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<Timestamp>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Timestamp>,
    /// Leave out this kind of event; comma-separated or repeated
    #[arg(long = "exclude-type", value_name = "TYPE", value_delimiter = ',', value_parser = event_type)]
    pub exclude_types: Vec<EventType>,
    /// Leave out what this actor did; comma-separated or repeated
    #[arg(long = "exclude-actor", value_name = "ACTOR", value_delimiter = ',')]
    pub exclude_actors: Vec<String>,
    /// At most this many events, 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub limit: i32,
    /// Go on after a page: what the page before said
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    pub page_token: Option<String>,
    /// All events, page by page
    #[arg(long)]
    pub all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutcomeArg {
    Success,
    Denied,
}

fn event_type(text: &str) -> Result<EventType, String> {
    EventType::from_str_name(&format!("EVENT_TYPE_{}", text.to_uppercase()))
        .filter(|kind| *kind != EventType::Unspecified)
        .ok_or_else(|| format!("unknown type of event {text:?}; types are written as in trust_zone_creation or federation_deletion"))
}

fn entity_type(text: &str) -> Result<EntityType, String> {
    EntityType::from_str_name(&format!("ENTITY_TYPE_{}", text.to_uppercase()))
        .filter(|kind| *kind != EntityType::Unspecified)
        .ok_or_else(|| format!("unknown type of object {text:?}; types are written as in trust_zone or federated_service"))
}
