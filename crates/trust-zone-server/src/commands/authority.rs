//! `authority show`, `prepare`, `activate`, `retire`, `rotate`

use std::time::Duration;

use anyhow::Context;
use cofide_api::spire::server::localauthority as api;
use cofide_api::spire::server::localauthority::local_authority_client::LocalAuthorityClient;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::transport::Channel;

use super::connect::{channel, explain};
use super::output;
use crate::args::{AuthorityArgs, AuthorityCommand, AuthorityKind, Connection, Output};

/// One authority, as printed.
#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    state: &'static str,
    authority_id: String,
    expires_at: String,
}

type Client = LocalAuthorityClient<Channel>;

/// The three places of one kind of authority.
#[derive(Debug, Default)]
struct States {
    active: Option<api::AuthorityState>,
    prepared: Option<api::AuthorityState>,
    old: Option<api::AuthorityState>,
}

pub(super) async fn execute(command: AuthorityCommand) -> anyhow::Result<()> {
    match command {
        AuthorityCommand::Show { connection, output } => show(&connection, output).await,
        AuthorityCommand::Prepare(args) => {
            let prepared = prepare(&mut client(&args.connection).await?, args.kind).await?;
            print(args.kind, "prepared", prepared)
        }
        AuthorityCommand::Activate(args) => {
            let activated = activate(&mut client(&args.connection).await?, args.kind).await?;
            print(args.kind, "active", activated)
        }
        AuthorityCommand::Retire(args) => {
            let retired = retire(&mut client(&args.connection).await?, args.kind).await?;
            print(args.kind, "retired", retired)
        }
        AuthorityCommand::Rotate { authority, overlap } => rotate(authority, overlap).await,
    }
}

async fn client(connection: &Connection) -> anyhow::Result<Client> {
    Ok(LocalAuthorityClient::new(channel(connection).await?))
}

async fn states(client: &mut Client, kind: AuthorityKind) -> anyhow::Result<States> {
    Ok(match kind {
        AuthorityKind::X509 => {
            let response = client.get_x509_authority_state(api::GetX509AuthorityStateRequest {}).await.map_err(explain)?.into_inner();
            States { active: response.active, prepared: response.prepared, old: response.old }
        }
        AuthorityKind::Jwt => {
            let response = client.get_jwt_authority_state(api::GetJwtAuthorityStateRequest {}).await.map_err(explain)?.into_inner();
            States { active: response.active, prepared: response.prepared, old: response.old }
        }
    })
}

async fn prepare(client: &mut Client, kind: AuthorityKind) -> anyhow::Result<api::AuthorityState> {
    let prepared = match kind {
        AuthorityKind::X509 => {
            client.prepare_x509_authority(api::PrepareX509AuthorityRequest {}).await.map_err(explain)?.into_inner().prepared_authority
        }
        AuthorityKind::Jwt => {
            client.prepare_jwt_authority(api::PrepareJwtAuthorityRequest {}).await.map_err(explain)?.into_inner().prepared_authority
        }
    };
    prepared.context("the server named no authority")
}

async fn activate(client: &mut Client, kind: AuthorityKind) -> anyhow::Result<api::AuthorityState> {
    let prepared = states(client, kind).await?.prepared.context("no authority is prepared; run: trust-zone-server authority prepare")?;
    let authority_id = prepared.authority_id;
    let activated = match kind {
        AuthorityKind::X509 => {
            let request = api::ActivateX509AuthorityRequest { authority_id };
            client.activate_x509_authority(request).await.map_err(explain)?.into_inner().activated_authority
        }
        AuthorityKind::Jwt => {
            let request = api::ActivateJwtAuthorityRequest { authority_id };
            client.activate_jwt_authority(request).await.map_err(explain)?.into_inner().activated_authority
        }
    };
    activated.context("the server named no authority")
}

/// Taints, so that verifiers who know the mark act on it, then revokes.
async fn retire(client: &mut Client, kind: AuthorityKind) -> anyhow::Result<api::AuthorityState> {
    let old = states(client, kind).await?.old.context("there is no old authority")?;
    let authority_id = old.authority_id.clone();
    match kind {
        AuthorityKind::X509 => {
            client.taint_x509_authority(api::TaintX509AuthorityRequest { authority_id: authority_id.clone() }).await.map_err(explain)?;
            client.revoke_x509_authority(api::RevokeX509AuthorityRequest { authority_id }).await.map_err(explain)?;
        }
        AuthorityKind::Jwt => {
            client.taint_jwt_authority(api::TaintJwtAuthorityRequest { authority_id: authority_id.clone() }).await.map_err(explain)?;
            client.revoke_jwt_authority(api::RevokeJwtAuthorityRequest { authority_id }).await.map_err(explain)?;
        }
    }
    Ok(old)
}

async fn rotate(args: AuthorityArgs, overlap: Duration) -> anyhow::Result<()> {
    let mut client = client(&args.connection).await?;
    // A rotation that was begun, by the clock or by hand, is finished instead of begun again.
    if states(&mut client, args.kind).await?.prepared.is_none() {
        prepare(&mut client, args.kind).await?;
    }
    tokio::time::sleep(overlap).await;
    let activated = activate(&mut client, args.kind).await?;
    print(args.kind, "active", activated)
}

async fn show(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let mut client = client(connection).await?;
    let mut rows = Vec::new();
    for kind in [AuthorityKind::X509, AuthorityKind::Jwt] {
        let States { active, prepared, old } = states(&mut client, kind).await?;
        for (state, authority) in [("active", active), ("prepared", prepared), ("old", old)] {
            rows.extend(authority.map(|authority| row(kind, state, authority)));
        }
    }
    print_rows(output, &rows)
}

fn row(kind: AuthorityKind, state: &'static str, authority: api::AuthorityState) -> Row {
    let kind = match kind {
        AuthorityKind::X509 => "x509",
        AuthorityKind::Jwt => "jwt",
    };
    let expires_at = OffsetDateTime::from_unix_timestamp(authority.expires_at).ok().and_then(|time| time.format(&Rfc3339).ok());
    Row { kind, state, authority_id: authority.authority_id, expires_at: expires_at.unwrap_or_default() }
}

fn print(kind: AuthorityKind, state: &'static str, authority: api::AuthorityState) -> anyhow::Result<()> {
    print_rows(Output::Table, &[row(kind, state, authority)])
}

fn print_rows(output: Output, rows: &[Row]) -> anyhow::Result<()> {
    output::rows(output, &["KIND", "STATE", "AUTHORITY ID", "EXPIRES AT"], rows, |row| {
        vec![row.kind.to_owned(), row.state.to_owned(), row.authority_id.clone(), row.expires_at.clone()]
    })
}
