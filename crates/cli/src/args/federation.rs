//! `cofidectl federation`

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use cofide_core::{Name, SpiffeId, TrustDomain};

use super::trust_zone::trust_domain;

#[derive(Subcommand, Debug)]
pub enum FederationCommand {
    /// Let one trust zone trust another; mutual trust takes one federation in each direction
    #[command(after_help = "Example:\n  cofidectl federation add --trust-zone a --remote-trust-zone b\n  \
                            cofidectl federation add --trust-zone b --remote-trust-zone a")]
    Add(Direction),
    /// Let a trust zone trust a partner outside of this Connect: any SPIFFE issuer, by its bundle
    ///
    /// The partner becomes a trust zone without clusters. With --endpoint-url its bundle is fetched again and again: over
    /// https_web, by the certificate of the URL's host, or with --endpoint-spiffe-id over https_spiffe, by an SVID. Without, its
    /// bundle stays as it is in the file until the command is repeated with another. A file with --package-file is signed,
    /// expires, and is taken once. For mutual TLS the partner has to trust
    /// this zone as well: cofidectl trust-zone export-bundle writes what it needs.
    #[command(after_help = "Examples:\n  cofidectl federation import --trust-zone a --trust-domain partner.example \\\n      \
                            --endpoint-url https://bundles.partner.example/bundle\n  \
                            cofidectl federation import --trust-zone a --trust-domain partner.example \\\n      \
                            --endpoint-url https://spire.partner.example:8443 \\\n      \
                            --endpoint-spiffe-id spiffe://partner.example/spire/server \\\n      \
                            --bundle-file bundle.json\n  \
                            cofidectl federation import --trust-zone a --trust-domain partner.example \\\n      \
                            --name partner --bundle-file bundle.json\n  \
                            cofidectl federation import --trust-zone a \\\n      \
                            --package-file partner.jws --signer-key-file partner.pem")]
    Import(ImportArgs),
    /// List the federations, and whether each works as far as agents have reported
    #[command(after_help = "Example:\n  cofidectl federation list")]
    List(ListArgs),
    /// Show both directions between two trust zones: what each zone has delivered, and what each cluster holds of it
    #[command(after_help = "Example:\n  cofidectl federation status trust-zone-a trust-zone-b")]
    Status(StatusArgs),
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
pub struct StatusArgs {
    /// Name or id of the zone that trusts
    #[arg(value_name = "ZONE")]
    pub trust_zone: String,
    /// Name or id of the zone that is trusted
    #[arg(value_name = "REMOTE_ZONE")]
    pub remote_trust_zone: String,
}

#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The zone that trusts
    #[arg(long, value_name = "ZONE", value_parser = NonEmptyStringValueParser::new())]
    pub trust_zone: String,
    /// The SPIFFE trust domain of the partner
    #[arg(long, value_name = "DOMAIN", value_parser = trust_domain, required_unless_present = "package_file")]
    pub trust_domain: Option<TrustDomain>,
    /// A name for the partner, where it is new here [default: its trust domain]
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// The partner's bundle in the SPIFFE format (JWKS); - for stdin
    #[arg(long, value_name = "FILE")]
    pub bundle_file: Option<PathBuf>,
    /// Where the partner publishes its bundle
    #[arg(long, value_name = "URL", alias = "bundle-endpoint-url")]
    pub endpoint_url: Option<String>,
    /// Who serves that URL, where it proves itself by an SVID and not by a certificate of the web
    #[arg(long, value_name = "SPIFFE_ID")]
    pub endpoint_spiffe_id: Option<SpiffeId>,
    /// A signed bundle, as trust-zone export-bundle --package of another Connect writes it; - for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle_file", "endpoint_url", "endpoint_spiffe_id", "trust_domain"])]
    pub package_file: Option<PathBuf>,
    /// The public key of whoever signed it, in PEM; needed with a partner's first package, and pinned by it
    #[arg(long, value_name = "FILE", requires = "package_file")]
    pub signer_key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only federations of this trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: Option<String>,
}
