//! A trust zone: its SPIFFE server, and who holds identities of it.

use std::path::PathBuf;
use std::sync::Arc;

use cofide_agent::spire::{SpireClient, diff::TrustChange};
use cofide_core::TrustDomain;
use cofide_svid::{BundleSet, IdentitySlot};
use cofide_testkit::workload::{bundles_of, identity_of};
use serde_json::json;
use spiffe::X509Source;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Gives every process of this user one identity.
pub(crate) struct Zone {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) socket: PathBuf,
    admin: PathBuf,
    _stop: DropGuard,
    _folder: TempDir,
}

/// What an application needs for mTLS.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) identity: Arc<IdentitySlot>,
    pub(crate) bundles: Arc<BundleSet>,
}

impl Zone {
    /// `path` is the path of that identity; `others` are the trust domains whose bundles come with it.
    pub(crate) async fn start(trust_domain: &str, path: &str, others: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "trust_domain": trust_domain,
            "data_dir": folder.path().join("data"),
            "sds": { "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" },
            "entries": [{
                "spiffe_id_path": path,
                "selectors": [format!("unix:uid:{}", nix::unistd::getuid())],
                "federates_with": others,
            }],
        });
        let shutdown = CancellationToken::new();
        let server = cofide_trust_zone_server::run::start(serde_json::from_value(config).unwrap(), shutdown.clone()).await.unwrap();
        let socket = server.bound().workload_api_socket.clone();
        let admin = folder.path().join("data/admin.sock");
        tokio::spawn(server.wait());
        Self { trust_domain: TrustDomain::new(trust_domain).unwrap(), socket, admin, _stop: shutdown.drop_guard(), _folder: folder }
    }

    fn spire(&self) -> SpireClient {
        SpireClient::new(&self.admin)
    }

    /// The identity that an application of this process has here.
    pub(crate) async fn identity(&self) -> Identity {
        let source = X509Source::builder().endpoint(format!("unix://{}", self.socket.display())).build().await.unwrap();
        let (identity, bundles) = (Arc::new(IdentitySlot::default()), Arc::new(BundleSet::new()));
        identity.set(identity_of(source.svid().unwrap().as_ref()).unwrap());
        bundles.replace_all(bundles_of(source.x509_context().unwrap().as_ref()));
        Identity { identity, bundles }
    }
}

/// Gives each of the zones the bundles of all others.
pub(crate) async fn federate(zones: &[&Zone]) {
    for zone in zones {
        for other in zones.iter().filter(|other| other.trust_domain != zone.trust_domain) {
            let bundle = other.spire().own_bundle().await.unwrap();
            zone.spire().change_trust(&TrustChange::SetBundle(bundle)).await.unwrap().unwrap();
        }
    }
}
