//! `cofidectl trust-zone`

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use cofide_core::{BundleEndpointProfile, Name, TrustDomain, parse_trust_domain};
use cofide_runtime::duration;

#[derive(Subcommand, Debug)]
pub enum TrustZoneCommand {
    /// Create a trust zone
    #[command(after_help = "Example:\n  cofidectl trust-zone add trust-zone-a --trust-domain a.example")]
    Add(AddArgs),
    /// List the trust zones
    #[command(after_help = "Example:\n  cofidectl trust-zone list")]
    List,
    /// Show one trust zone
    #[command(after_help = "Example:\n  cofidectl trust-zone get trust-zone-a --output yaml")]
    Get(GetArgs),
    /// Replace the bundle of a trust zone whose SPIFFE server was rebuilt
    ///
    /// The agents of the zone deliver its bundle by themselves, also after each rotation, as long as one authority stays. A
    /// rebuilt SPIFFE server has none of the old ones: compare what is in the file with what the server has, then replace
    /// the bundle here, with --force since every identity of the old authorities is refused from then on. JWT keys that the
    /// file does not mention at all stay.
    #[command(after_help = "Examples:\n  cofidectl trust-zone set-bundle trust-zone-a --bundle-file bundle.json\n  \
                      spire-server bundle show -format spiffe |\n      cofidectl trust-zone set-bundle trust-zone-a --bundle-file - --force")]
    SetBundle(SetBundleArgs),
    /// Write the bundle of a trust zone as partners need it, in the SPIFFE format (JWKS)
    ///
    /// With --package it is signed by this Connect, expires, and is counted: for partners whom no connection reaches. The
    /// partner needs the signer's public key too, on another way than the package: compare the fingerprint by telephone.
    #[command(after_help = "Examples:\n  cofidectl trust-zone export-bundle trust-zone-a > bundle.json\n  \
                      cofidectl trust-zone export-bundle trust-zone-a --package --ttl 14d \\\n      \
                      --output-file a.jws --signer-key-file a.pem")]
    ExportBundle(ExportBundleArgs),
    /// Remove a trust zone, with its bindings and its federations on either side
    #[command(after_help = "Example:\n  cofidectl trust-zone del trust-zone-a")]
    Del(DelArgs),
}

#[derive(Args, Debug)]
pub struct AddArgs {
    /// A name for people
    pub name: Name,
    /// The SPIFFE trust domain, as in a.example; it cannot change later
    #[arg(long, value_name = "DOMAIN", value_parser = trust_domain)]
    pub trust_domain: TrustDomain,
    /// Issuer of the zone's JWT-SVIDs
    #[arg(long, value_name = "URL")]
    pub jwt_issuer: Option<String>,
    /// Where the zone publishes its bundle
    #[arg(long, value_name = "URL")]
    pub bundle_endpoint_url: Option<String>,
    /// How the bundle endpoint proves itself: by an SVID of the zone, or by a certificate of the web
    #[arg(long, value_name = "PROFILE", default_value = "https_spiffe",
          value_parser = PossibleValuesParser::new(["https_spiffe", "https_web"]).try_map(|text| text.parse::<BundleEndpointProfile>()))]
    pub bundle_endpoint_profile: BundleEndpointProfile,
    /// Accepted for the sake of older scripts
    #[arg(long, hide = true)]
    pub external_server: bool,
}

#[derive(Args, Debug)]
pub struct GetArgs {
    /// Name or id
    pub name: String,
}

#[derive(Args, Debug)]
pub struct SetBundleArgs {
    /// Name or id
    pub name: String,
    /// The bundle in the SPIFFE format (JWKS), as a bundle endpoint serves it; - for stdin
    #[arg(long, value_name = "FILE")]
    pub bundle_file: PathBuf,
    /// Also if no X.509 authority of the zone stays, which ends every identity that the zone has now
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct ExportBundleArgs {
    /// Name or id
    pub name: String,
    /// The file that is written; stdout where it is not given
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Signed, for federation import --package-file of another Connect
    #[arg(long)]
    pub package: bool,
    /// For how long the package can be imported, at most 365 days
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30d", requires = "package")]
    pub ttl: Duration,
    /// Also write the public key of the signer, in PEM
    #[arg(long, value_name = "FILE", requires = "package")]
    pub signer_key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct DelArgs {
    /// Name or id
    pub name: String,
    /// Remove its clusters too
    #[arg(long)]
    pub force: bool,
}

pub(crate) fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    parse_trust_domain(text).map_err(|error| format!("a trust domain {error}"))
}
