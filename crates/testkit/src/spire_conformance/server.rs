//! A server of either kind, and clients for its API.

use std::path::PathBuf;

use anyhow::Result;
use cofide_agent::spire::SpireClient;
use cofide_api::spire::server::bundle::BatchSetFederatedBundleRequest;
use cofide_api::spire::server::bundle::bundle_client::BundleClient;
use cofide_api::spire::server::entry::BatchCreateEntryRequest;
use cofide_api::spire::server::entry::entry_client::EntryClient;
use cofide_api::spire::server::localauthority::local_authority_client::LocalAuthorityClient;
use cofide_api::spire::server::trustdomain::trust_domain_client::TrustDomainClient;
use cofide_api::spire::types;
use cofide_core::{Bundle, TrustDomain};
use serde_json::json;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::loopback::own_address;
use crate::running::Running;
use crate::spire::{Spire, SpireOptions};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    TrustZoneServer,
    Spire,
}

enum Program {
    TrustZoneServer(Option<Running>),
    Spire(Box<Spire>),
}

/// A server of one trust domain in a folder of its own, with no workloads.
pub struct Server {
    // Ended before its folder goes.
    program: Program,
    pub trust_domain: TrustDomain,
    /// As the agent calls it.
    pub client: SpireClient,
    folder: TempDir,
}

impl Server {
    pub async fn start(kind: ServerKind, trust_domain: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("server").tempdir().unwrap();
        let trust_domain = TrustDomain::new(trust_domain).unwrap();
        let program = match kind {
            ServerKind::TrustZoneServer => Program::TrustZoneServer(None),
            ServerKind::Spire => {
                Program::Spire(Box::new(Spire::new(folder.path(), &trust_domain, own_address(), SpireOptions::default()).await.unwrap()))
            }
        };
        let client = SpireClient::new(&folder.path().join("admin.sock"));
        let mut server = Self { program, trust_domain, client, folder };
        server.restart().await;
        server
    }

    /// Starts it again on what it kept.
    pub async fn restart(&mut self) {
        match &mut self.program {
            Program::TrustZoneServer(running) => {
                *running = Some(trust_zone_server(&self.folder, &self.trust_domain).await.unwrap());
            }
            Program::Spire(spire) => spire.start_server().await.unwrap(),
        }
    }

    pub async fn stop(&mut self) {
        match &mut self.program {
            Program::TrustZoneServer(running) => running.take().unwrap().stop().await.unwrap(),
            Program::Spire(spire) => spire.stop_server().await.unwrap(),
        }
    }

    /// Makes it anew: what it kept is gone, its authority too.
    pub async fn erase(&mut self) {
        self.stop().await;
        match &self.program {
            Program::TrustZoneServer(_) => std::fs::remove_dir_all(self.folder.path().join("trust-zone-server")).unwrap(),
            Program::Spire(spire) => spire.forget().unwrap(),
        }
        self.restart().await;
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// Its own bundle.
    pub async fn bundle(&self) -> Bundle {
        self.client.own_bundle().await.unwrap()
    }

    async fn channel(&self) -> Channel {
        let address = format!("unix://{}", self.admin_socket().display());
        tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap()
    }

    pub(super) async fn entries(&self) -> EntryClient<Channel> {
        EntryClient::new(self.channel().await)
    }

    pub(super) async fn bundles(&self) -> BundleClient<Channel> {
        BundleClient::new(self.channel().await)
    }

    pub(super) async fn relationships(&self) -> TrustDomainClient<Channel> {
        TrustDomainClient::new(self.channel().await)
    }

    pub(super) async fn authorities(&self) -> LocalAuthorityClient<Channel> {
        LocalAuthorityClient::new(self.channel().await)
    }

    pub(super) async fn set_bundle(&self, bundle: &Bundle) {
        let request = BatchSetFederatedBundleRequest { bundle: vec![bundle.into()], output_mask: None };
        let status = self.bundles().await.batch_set_federated_bundle(request).await.unwrap().into_inner().results.remove(0).status;
        assert_eq!(status.as_ref().unwrap().code, 0, "{status:?}");
    }

    /// Creates an entry; panics unless that works.
    pub(super) async fn register(&self, entry: types::Entry) -> types::Entry {
        let request = BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
        let result = self.entries().await.batch_create_entry(request).await.unwrap().into_inner().results.remove(0);
        assert_eq!(result.status.as_ref().unwrap().code, 0, "{:?}", result.status);
        result.entry.unwrap()
    }

    pub(super) fn entry(&self, path: &str) -> types::Entry {
        self.entry_for(path, &["unix:uid:1000"])
    }

    pub(super) fn entry_for(&self, path: &str, selectors: &[&str]) -> types::Entry {
        let id = |path: &str| Some(types::Spiffeid { trust_domain: self.trust_domain.to_string(), path: path.into() });
        let selector = |text: &&str| {
            let (kind, value) = text.split_once(':').unwrap();
            types::Selector { r#type: kind.into(), value: value.into() }
        };
        types::Entry {
            spiffe_id: id(path),
            parent_id: id("/spire/agent/test"),
            selectors: selectors.iter().map(selector).collect(),
            ..types::Entry::default()
        }
    }
}

async fn trust_zone_server(folder: &TempDir, trust_domain: &TrustDomain) -> Result<Running> {
    let folder = folder.path();
    let settings = json!({
        "trust_domain": trust_domain.as_str(),
        "data_dir": folder.join("trust-zone-server"),
        "workload_api_socket": folder.join("workload-api.sock"),
        "admin_socket": folder.join("admin.sock"),
    });
    let config = cofide_runtime::config::load(None, &settings)?;
    let start = async |shutdown| {
        let server = cofide_trust_zone_server::run::start(config, shutdown).await?;
        Ok(((), server.wait()))
    };
    let ((), running) = Running::start(&folder.join("trust-zone-server.log"), start).await?;
    Ok(running)
}
