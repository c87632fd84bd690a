//! `bundle show`, `bundle list`, `bundle set`

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use cofide_api::spire::server::bundle as api;
use cofide_api::spire::server::bundle::bundle_client::BundleClient;
use cofide_api::spire::types;
use cofide_core::Bundle;
use cofide_svid::bundle::{MAX_JWKS_SIZE, from_jwks, to_jwks};
use cofide_svid::x509::certificate_pem;
use serde::Serialize;

use super::connect::{channel, check, explain};
use super::output;
use crate::args::{BundleCommand, BundleFormat};

/// One bundle, as listed.
#[derive(Debug, Serialize)]
struct Row {
    trust_domain: String,
    x509_authorities: usize,
    jwt_authorities: usize,
    sequence_number: u64,
}

pub(super) async fn execute(command: BundleCommand) -> anyhow::Result<()> {
    match command {
        BundleCommand::Show { connection, trust_domain, format } => {
            let mut client = BundleClient::new(channel(&connection).await?);
            let bundle = match trust_domain {
                Some(trust_domain) => client.get_federated_bundle(api::GetFederatedBundleRequest { trust_domain, output_mask: None }).await,
                None => client.get_bundle(api::GetBundleRequest::default()).await,
            };
            let bundle = Bundle::try_from(bundle.map_err(explain)?.into_inner())?;
            output::print(&format_bundle(&bundle, format))
        }
        BundleCommand::List { connection, output } => {
            let mut client = BundleClient::new(channel(&connection).await?);
            let response = client.list_federated_bundles(api::ListFederatedBundlesRequest::default()).await.map_err(explain)?.into_inner();
            let rows: Vec<Row> = response.bundles.into_iter().map(row).collect();
            output::rows(output, &["TRUST DOMAIN", "X.509", "JWT", "SEQUENCE"], &rows, |row| {
                vec![
                    row.trust_domain.clone(),
                    row.x509_authorities.to_string(),
                    row.jwt_authorities.to_string(),
                    row.sequence_number.to_string(),
                ]
            })
        }
        BundleCommand::Set { connection, trust_domain, file } => {
            let document = read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let trust_domain = cofide_core::parse_trust_domain(&trust_domain).with_context(|| format!("trust domain {trust_domain:?}"))?;
            let bundle = from_jwks(&trust_domain, &document)?;
            let mut client = BundleClient::new(channel(&connection).await?);
            let request = api::BatchSetFederatedBundleRequest { bundle: vec![(&bundle).into()], output_mask: None };
            let response = client.batch_set_federated_bundle(request).await.map_err(explain)?.into_inner();
            check(response.results.into_iter().next().context("the server sent no result")?.status)
        }
    }
}

fn row(bundle: types::Bundle) -> Row {
    Row {
        trust_domain: bundle.trust_domain,
        x509_authorities: bundle.x509_authorities.len(),
        jwt_authorities: bundle.jwt_authorities.len(),
        sequence_number: bundle.sequence_number,
    }
}

fn format_bundle(bundle: &Bundle, format: BundleFormat) -> String {
    match format {
        BundleFormat::Spiffe => to_jwks(bundle) + "\n",
        BundleFormat::Pem => bundle.x509_authorities.iter().map(|authority| certificate_pem(&authority.der)).collect(),
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut document = Vec::new();
    // One byte more than is accepted, so that what is too large is found out to be.
    let limit = MAX_JWKS_SIZE as u64 + 1;
    match file.to_str() {
        Some("-") => std::io::stdin().take(limit).read_to_end(&mut document)?,
        _ => std::fs::File::open(file)?.take(limit).read_to_end(&mut document)?,
    };
    Ok(document)
}
