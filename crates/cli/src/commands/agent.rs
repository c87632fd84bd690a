//! `cofidectl agent`

use std::fs::Metadata;
use std::path::Path;
use std::time::SystemTime;

use cofide_api::connect::agent_service::CreateAgentJoinTokenRequest;
use cofide_api::connect::receipt_service::{ListAgentStatusesRequest, list_agent_statuses_request};
use cofide_api::types::cluster::Cluster;
use cofide_api::types::trust_zone::TrustZone;
use cofide_connect_client::Bootstrap;
use cofide_core::{JoinTokenSecret, Profile, parse_trust_domain};
use cofide_runtime::files::{self, Mode};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::args::agent::{AgentCommand, CreateArgs, HelmValuesArgs, JoinTokenCommand, ListArgs};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{cluster_in, clusters, trust_zones};
use crate::time::format_moment;
use crate::view::agent::{AgentView, AgentsView};

pub(super) async fn run(command: AgentCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        AgentCommand::List(args) => list(args, connection, printer).await,
        AgentCommand::JoinToken(JoinTokenCommand::Create(args)) => create_join_token(args, connection, printer).await,
        AgentCommand::HelmValues(args) => helm_values(args, connection, printer).await,
    }
}

/// What can be said before Connect is asked for anything.
pub(super) fn check(command: &AgentCommand) -> Result<()> {
    match command {
        AgentCommand::List(_) => Ok(()),
        AgentCommand::JoinToken(JoinTokenCommand::Create(args)) => check_output_file(&args.output_file, args.force),
        AgentCommand::HelmValues(args) => check_output_file(&args.output_file, args.force),
    }
}

async fn list(args: ListArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = args.trust_zone.as_ref().map(|name| zones.find(name)).transpose()?;
    let clusters = clusters(connection, zone).await?;
    let trust_zone_id = zone.and_then(|zone| zone.id.clone());
    let filter = list_agent_statuses_request::Filter { trust_zone_id, cluster_id: None };
    let request = ListAgentStatusesRequest { filter: Some(filter) };
    let statuses = call(connection.receipts().list_agent_statuses(request)).await?.statuses;
    let now = SystemTime::now().into();
    let mut views: Vec<_> = statuses.iter().map(|status| AgentView::new(status, &zones, &clusters, now)).collect();
    views.sort_by(|a, b| (&a.trust_zone, &a.cluster).cmp(&(&b.trust_zone, &b.cluster)));
    printer.show(&AgentsView(views))
}

async fn create_join_token(args: CreateArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.trust_zone)?;
    let cluster = cluster_in(connection, zone, &args.cluster).await?;
    let token = join_token(zone, &cluster, connection).await?;
    let bootstrap = bootstrap(zone, &cluster, token, connection)?;
    if is_stdout(&args.output_file) {
        return printer.data(&bootstrap.to_yaml());
    }
    bootstrap.write(&args.output_file).map_err(|error| unkept(&error, &cluster))?;
    printer.say(&format!(
        "wrote {file}: it lets the agent of cluster {} join trust zone {} once; hand it to the agent: cofide-agent run --bootstrap-file {file}",
        cluster.name(),
        zone.name,
        file = args.output_file.display()
    ))
}

async fn join_token(zone: &TrustZone, cluster: &Cluster, connection: &Connection) -> Result<JoinTokenSecret> {
    let request = CreateAgentJoinTokenRequest { trust_zone_id: zone.id.clone(), cluster_id: cluster.id.clone() };
    let token = call(connection.agents().create_agent_join_token(request)).await?.agent_token.unwrap_or_default();
    Ok(JoinTokenSecret::new(token))
}

/// Connect has made the token by now, and keeps only its hash.
fn unkept(error: &dyn std::fmt::Display, cluster: &Cluster) -> Error {
    Error::failed(error.to_string()).hint(format!(
        "a join token for cluster {} was made and is lost, and one made before it that is not used yet is void, also that of a file that is \
         still there; mend the cause, then run this again for a new one",
        cluster.name()
    ))
}

async fn helm_values(args: HelmValuesArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.trust_zone)?;
    let cluster = cluster_in(connection, zone, &args.cluster).await?;
    // Before a token is made that nobody could use.
    let profile = match cluster.profile().parse() {
        Ok(profile @ (Profile::Kubernetes | Profile::Istio)) => profile,
        Ok(Profile::Host) | Err(_) => {
            let error = Error::failed(format!(
                "cluster {} has the profile {:?}, and the chart is for Kubernetes",
                cluster.name(),
                cluster.profile()
            ));
            return Err(error.hint("an agent on a host takes the file of cofidectl agent join-token create"));
        }
    };
    let token = if args.with_join_token { join_token(zone, &cluster, connection).await? } else { JoinTokenSecret::new(String::new()) };
    let bootstrap = bootstrap(zone, &cluster, token, connection)?;
    let values = serde_saphyr::to_string(&values(&bootstrap, profile))
        .map(Zeroizing::new)
        .map_err(|error| Error::failed(format!("cannot write the values as YAML: {error}")))?;
    if bootstrap.connect_url.is_loopback() {
        let url = &bootstrap.connect_url;
        printer
            .say(&format!("note: {url} is this machine, where no pod finds Connect; set agent.env.COFIDE_CONNECT_URL to its address"))?;
    }
    if is_stdout(&args.output_file) {
        return printer.data(&values);
    }
    let written = files::write_atomic(&args.output_file, values.as_bytes(), Mode::Secret);
    written.map_err(|error| if args.with_join_token { unkept(&error, &cluster) } else { Error::failed(error.to_string()) })?;
    let file = args.output_file.display();
    printer.say(&format!("wrote {file}; next: helm install cofide-agent CHART --namespace cofide --create-namespace --values {file}"))
}

/// What the chart makes the environment and the bootstrap file from.
fn values(bootstrap: &Bootstrap, profile: Profile) -> Value {
    let mut values = json!({
        "agent": { "env": {
            "AGENT_PROFILE": profile.as_str(),
            "CLUSTER_ID": bootstrap.cluster_id.as_str(),
            "COFIDE_AGENT_CLUSTER_NAME": bootstrap.cluster_name.as_str(),
            "COFIDE_CONNECT_TRUST_DOMAIN": bootstrap.connect.spiffe_id.trust_domain().as_str(),
            "COFIDE_CONNECT_URL": bootstrap.connect_url.to_string(),
            "TRUST_DOMAIN": bootstrap.trust_domain.as_str(),
            "TRUST_ZONE_ID": bootstrap.trust_zone_id.as_str(),
        } },
        "bootstrap": { "connect": {
            "spiffeID": bootstrap.connect.spiffe_id.to_string(),
            "bundle": cofide_svid::bundle::to_jwks(&bootstrap.connect.bundle),
        } },
    });
    // Left out where there is none, so that it can come from another values file.
    let token = bootstrap.agent_token.expose();
    if !token.is_empty() {
        values["agent"]["env"]["AGENT_TOKEN"] = token.into();
    }
    values
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// A new token ends the one before, so it is not asked for where it could not be kept.
///
/// The file is replaced and not written into, so anything but a regular file, a device above all, would be gone; and so
/// would a bootstrap file that still waits for its agent.
fn check_output_file(file: &Path, force: bool) -> Result<()> {
    if is_stdout(file) {
        return Ok(());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let reason = match std::fs::symlink_metadata(file) {
        Ok(found) if found.is_dir() => "it is a folder",
        Ok(found) if !found.is_file() => "it is no regular file; name another, or - for stdout",
        Ok(found) if !force => {
            let exists = Error::failed(format!("{} exists already: {}", file.display(), described(file, &found)));
            return Err(exists.hint("name another file, or replace it with --force; nothing was changed, and no token was made"));
        }
        Err(_) if !folder.is_dir() => "the folder does not exist",
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(Error::failed(format!("cannot write {}: {reason}", file.display())))
}

/// What would be lost. The token in it is not shown.
fn described(file: &Path, found: &Metadata) -> String {
    let written = found.modified().map(|time| format!(", written {}", format_moment(time.into()))).unwrap_or_default();
    match Bootstrap::read(file) {
        Ok(old) => format!("the bootstrap file of cluster {} in trust domain {}{written}", old.cluster_name, old.trust_domain),
        Err(_) => format!("no bootstrap file that can be read, {} bytes{written}", found.len()),
    }
}

fn bootstrap(zone: &TrustZone, cluster: &Cluster, agent_token: JoinTokenSecret, connection: &Connection) -> Result<Bootstrap> {
    let unusable =
        |noun: &str, reason: &dyn std::fmt::Display| Error::failed(format!("Connect sent a {noun} that cannot be used: {reason}"));
    Ok(Bootstrap {
        connect_url: connection.url().clone(),
        connect: connection.connect().clone(),
        trust_zone_id: zone.id().parse().map_err(|error| unusable("trust zone", &error))?,
        trust_domain: parse_trust_domain(&zone.trust_domain).map_err(|error| unusable("trust zone", &error))?,
        cluster_id: cluster.id().parse().map_err(|error| unusable("cluster", &error))?,
        cluster_name: cluster.name().parse().map_err(|error| unusable("cluster", &error))?,
        agent_token,
    })
}
