//! A server of either kind.

use std::path::PathBuf;

use anyhow::Result;
use cofide_agent::spire::SpireClient;
use cofide_api::spire::types;
use cofide_core::TrustDomain;
use serde_json::json;
use tempfile::TempDir;

use crate::loopback::own_address;
use crate::running::Running;
use crate::spire::{Spire, SpireOptions};
use crate::spire_api::SpireApi;

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
    /// As anybody else does.
    pub api: SpireApi,
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
        let socket = folder.path().join("admin.sock");
        let (client, api) = (SpireClient::new(&socket), SpireApi::new(socket, trust_domain.clone()));
        let mut server = Self { program, trust_domain, client, api, folder };
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

    /// An entry for the processes of some user.
    pub(super) fn entry(&self, path: &str) -> types::Entry {
        self.api.entry_for(path, &["unix:uid:1000"])
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
