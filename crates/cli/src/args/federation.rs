//! `cofidectl federation`

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub enum FederationCommand {
    /// Let one trust zone trust another; mutual trust takes one federation in each direction
    #[command(after_help = "Example:\n  cofidectl federation add --trust-zone a --remote-trust-zone b\n  \
                            cofidectl federation add --trust-zone b --remote-trust-zone a")]
    Add(Direction),
    /// List the federations, and whether each works as far as agents have reported
    #[command(after_help = "Example:\n  cofidectl federation list")]
    List(ListArgs),
    /// End the trust of one zone in another
    #[command(after_help = "Example:\n  cofidectl federation del --trust-zone a --remote-trust-zone b")]
    Del(Direction),
}

#[derive(Args, Debug)]
pub struct Direction {
    /// The zone that trusts (formerly --from)
    #[arg(long, value_name = "ZONE", alias = "from", value_parser = NonEmptyStringValueParser::new())]
    pub trust_zone: String,
    /// The zone that is trusted (formerly --to)
    #[arg(long, value_name = "ZONE", alias = "to", value_parser = NonEmptyStringValueParser::new())]
    pub remote_trust_zone: String,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only federations of this trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: Option<String>,
}
