//! `entry create`, `entry list`, `entry delete`

use anyhow::{Context, bail};
use cofide_api::spire::server::bundle::GetBundleRequest;
use cofide_api::spire::server::bundle::bundle_client::BundleClient;
use cofide_api::spire::server::entry as api;
use cofide_api::spire::server::entry::entry_client::EntryClient;
use cofide_api::spire::types;
use serde::Serialize;
use tonic::Code;

use super::connect::{channel, check, explain};
use super::output;
use crate::args::{Connection, CreateEntryArgs, EntryCommand, Output};

/// One entry, as printed.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    spiffe_id: String,
    parent_id: String,
    selectors: Vec<String>,
    federates_with: Vec<String>,
    dns_names: Vec<String>,
    hint: String,
    x509_svid_ttl: i32,
    jwt_svid_ttl: i32,
    expires_at: i64,
    revision_number: i64,
    created_at: i64,
}

impl From<types::Entry> for Row {
    fn from(entry: types::Entry) -> Self {
        let id = |id: Option<types::Spiffeid>| id.map(|id| format!("spiffe://{}{}", id.trust_domain, id.path)).unwrap_or_default();
        Self {
            id: entry.id,
            spiffe_id: id(entry.spiffe_id),
            parent_id: id(entry.parent_id),
            selectors: entry.selectors.into_iter().map(|selector| format!("{}:{}", selector.r#type, selector.value)).collect(),
            federates_with: entry.federates_with,
            dns_names: entry.dns_names,
            hint: entry.hint,
            x509_svid_ttl: entry.x509_svid_ttl,
            jwt_svid_ttl: entry.jwt_svid_ttl,
            expires_at: entry.expires_at,
            revision_number: entry.revision_number,
            created_at: entry.created_at,
        }
    }
}

pub(super) async fn execute(command: EntryCommand) -> anyhow::Result<()> {
    match command {
        EntryCommand::Create(args) => create(args).await,
        EntryCommand::List { connection, output } => list(&connection, output).await,
        EntryCommand::Delete { connection, ids } => delete(&connection, ids).await,
    }
}

fn print(output: Output, entries: Vec<types::Entry>) -> anyhow::Result<()> {
    let rows: Vec<Row> = entries.into_iter().map(Into::into).collect();
    output::rows(output, &["ID", "SPIFFE ID", "SELECTORS", "FEDERATES WITH", "HINT"], &rows, |row| {
        vec![row.id.clone(), row.spiffe_id.clone(), row.selectors.join(" "), row.federates_with.join(" "), row.hint.clone()]
    })
}

async fn create(args: CreateEntryArgs) -> anyhow::Result<()> {
    let channel = channel(&args.connection).await?;
    let bundle = BundleClient::new(channel.clone()).get_bundle(GetBundleRequest::default()).await.map_err(explain)?.into_inner();
    let id = |path: String| Some(types::Spiffeid { trust_domain: bundle.trust_domain.clone(), path });
    let ttl = args.x509_svid_ttl.unwrap_or_default().as_secs();
    let entry = types::Entry {
        spiffe_id: id(args.spiffe_id_path),
        parent_id: id(args.parent_id_path),
        selectors: args.selectors.into_iter().map(|selector| types::Selector { r#type: selector.kind, value: selector.value }).collect(),
        federates_with: args.federates_with,
        dns_names: args.dns_names,
        hint: args.hint,
        x509_svid_ttl: i32::try_from(ttl).context("--x509-svid-ttl is too long")?,
        ..types::Entry::default()
    };
    let request = api::BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
    let response = EntryClient::new(channel).batch_create_entry(request).await.map_err(explain)?.into_inner();
    let result = response.results.into_iter().next().context("the server sent no result")?;
    let status = result.status.unwrap_or_default();
    match (Code::from_i32(status.code), result.entry) {
        (Code::Ok, Some(entry)) => print(args.output, vec![entry]),
        (Code::AlreadyExists, Some(entry)) => {
            bail!("the same SPIFFE ID with the same selectors is registered already, as entry {}", entry.id)
        }
        _ => check(Some(status)),
    }
}

async fn list(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let mut client = EntryClient::new(channel(connection).await?);
    let response = client.list_entries(api::ListEntriesRequest::default()).await.map_err(explain)?.into_inner();
    print(output, response.entries)
}

async fn delete(connection: &Connection, ids: Vec<String>) -> anyhow::Result<()> {
    let mut client = EntryClient::new(channel(connection).await?);
    let response = client.batch_delete_entry(api::BatchDeleteEntryRequest { ids }).await.map_err(explain)?.into_inner();
    let mut failures = Vec::new();
    for result in response.results {
        match check(result.status) {
            Ok(()) => output::print(&format!("{}\n", result.id))?,
            Err(error) => failures.push(format!("{}: {error}", result.id)),
        }
    }
    anyhow::ensure!(failures.is_empty(), "cannot delete {}", failures.join(", "));
    Ok(())
}
