//! A trust zone: its SPIFFE server, in this process.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use cofide_agent::spire::client::SpireClient;
use cofide_agent::spire::diff::{EntryChange, TrustChange};
use cofide_agent::spire::model::EntryContent;
use cofide_core::{Bundle, TrustDomain};
use cofide_svid::{BundleSet, IdentitySlot};
use cofide_testkit::authorities::Authorities;
use cofide_testkit::workload::{bundles_of, identity_of};
use cofide_trust_zone_server::config::Config;
use cofide_trust_zone_server::run::{Bound, start};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Tls;

/// The path of the SPIFFE ID that every process of this user has in every zone: Envoys and applications alike.
pub(crate) const WORKLOAD_PATH: &str = "/workload";

pub(crate) struct Zone {
    pub(crate) trust_domain: TrustDomain,
    bound: Bound,
    spire: SpireClient,
    _folder: TempDir,
    _stop: DropGuard,
}

impl Zone {
    /// A zone that trusts nobody yet.
    pub(crate) async fn start(trust_domain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({ "trust_domain": trust_domain, "data_dir": folder.path().join("data") });
        let config: Config = serde_json::from_value(config).unwrap();
        let shutdown = CancellationToken::new();
        let server = start(config, shutdown.clone()).await.unwrap();
        let bound = server.bound().clone();
        tokio::spawn(server.wait());
        let spire = SpireClient::new(&bound.admin_socket);
        Self { trust_domain: TrustDomain::new(trust_domain).unwrap(), bound, spire, _folder: folder, _stop: shutdown.drop_guard() }
    }

    /// Two zones with workloads that trust each other.
    pub(crate) async fn pair() -> (Self, Self) {
        let (a, b) = (Self::start("a.test").await, Self::start("b.test").await);
        a.trusts(&[&b]).await;
        b.trusts(&[&a]).await;
        (a, b)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.bound.workload_api_socket.clone()
    }

    pub(crate) fn spiffe_id(&self) -> String {
        format!("spiffe://{}{WORKLOAD_PATH}", self.trust_domain)
    }

    /// Gives workloads their identity, with the bundles of exactly these zones beside their own.
    pub(crate) async fn trusts(&self, others: &[&Self]) {
        for other in others {
            let bundle = other.spire.own_bundle().await.unwrap();
            self.spire.change_trust(&TrustChange::SetBundle(bundle)).await.unwrap().unwrap();
        }
        let content = EntryContent {
            dns_names: vec![],
            federates_with: others.iter().map(|other| other.trust_domain.clone()).collect(),
            store_svid: false,
            hint: String::new(),
        };
        let change = match self.spire.read().await.unwrap().entries.pop() {
            Some(entry) => EntryChange::Update { id: entry.id, spiffe_id: self.spiffe_id(), content, bindings: BTreeSet::new() },
            None => EntryChange::Create {
                key: cofide_agent::spire::model::EntryKey {
                    spiffe_id: self.spiffe_id(),
                    parent_id: format!("spiffe://{}/spire/server", self.trust_domain),
                    selectors: BTreeSet::from([format!("unix:uid:{}", nix::unistd::getuid()).parse().unwrap()]),
                },
                content,
                bindings: BTreeSet::new(),
            },
        };
        self.spire.change_entries(&[change]).await.unwrap().pop().unwrap().unwrap();
    }

    /// Trusts the authorities of `signer` for the trust domain of `name`.
    pub(crate) async fn trusts_as(&self, signer: &Self, name: &TrustDomain) {
        let own = signer.spire.own_bundle().await.unwrap();
        let bundle = Bundle { trust_domain: name.clone(), ..own };
        self.spire.change_trust(&TrustChange::SetBundle(bundle)).await.unwrap().unwrap();
        let entry = self.spire.read().await.unwrap().entries.pop().unwrap();
        let mut content = entry.content.clone();
        content.federates_with.insert(name.clone());
        let change = EntryChange::Update { id: entry.id, spiffe_id: self.spiffe_id(), content, bindings: BTreeSet::new() };
        self.spire.change_entries(&[change]).await.unwrap().pop().unwrap().unwrap();
    }

    pub(crate) async fn authorities(&self) -> Authorities {
        Authorities::at(&self.bound.admin_socket).await.unwrap()
    }

    /// The identity and the trust of an application in this zone, from the Workload API.
    pub(crate) async fn tls(&self) -> Tls {
        let client = spiffe::WorkloadApiClient::connect_to(format!("unix:{}", self.socket().display())).await.unwrap();
        let context = client.fetch_x509_context().await.unwrap();
        let identity = identity_of(context.default_svid().unwrap()).unwrap();
        let bundles = bundles_of(&context).into_iter().collect::<BundleSet>();
        Tls { identity: Some(Arc::new(IdentitySlot::new(identity))), bundles: Arc::new(bundles) }
    }
}
