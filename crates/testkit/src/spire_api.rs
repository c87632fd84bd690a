//! SPIRE's server APIs as tests call them: every surprise panics.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "what tests are made of may stop at the first surprise, as tests may")]

use std::path::{Path, PathBuf};

use cofide_api::spire::server::bundle::bundle_client::BundleClient;
use cofide_api::spire::server::bundle::{BatchSetFederatedBundleRequest, GetBundleRequest};
use cofide_api::spire::server::entry::entry_client::EntryClient;
use cofide_api::spire::server::entry::{BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest};
use cofide_api::spire::server::localauthority::local_authority_client::LocalAuthorityClient;
use cofide_api::spire::server::trustdomain::trust_domain_client::TrustDomainClient;
use cofide_api::spire::types;
use cofide_core::{Bundle, TrustDomain};
use tonic::transport::{Channel, Endpoint};

/// Over the Unix socket of a SPIRE server or a trust-zone-server.
#[derive(Clone, Debug)]
pub struct SpireApi {
    socket: PathBuf,
    trust_domain: TrustDomain,
}

impl SpireApi {
    pub fn new(socket: PathBuf, trust_domain: TrustDomain) -> Self {
        Self { socket, trust_domain }
    }

    pub async fn entries(&self) -> EntryClient<Channel> {
        EntryClient::new(channel(&self.socket).await)
    }

    pub async fn bundles(&self) -> BundleClient<Channel> {
        BundleClient::new(channel(&self.socket).await)
    }

    pub async fn relationships(&self) -> TrustDomainClient<Channel> {
        TrustDomainClient::new(channel(&self.socket).await)
    }

    pub async fn authorities(&self) -> LocalAuthorityClient<Channel> {
        LocalAuthorityClient::new(channel(&self.socket).await)
    }

    /// The server's own bundle.
    pub async fn bundle(&self) -> Bundle {
        self.bundles().await.get_bundle(GetBundleRequest::default()).await.unwrap().into_inner().try_into().unwrap()
    }

    pub async fn set_bundle(&self, bundle: &Bundle) {
        let request = BatchSetFederatedBundleRequest { bundle: vec![bundle.into()], output_mask: None };
        let result = self.bundles().await.batch_set_federated_bundle(request).await.unwrap().into_inner().results.remove(0);
        assert_eq!(code(&result.status), 0, "{:?}", result.status);
    }

    /// Creates an entry; answers what was made of it.
    pub async fn register(&self, entry: types::Entry) -> types::Entry {
        let request = BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
        let result = self.entries().await.batch_create_entry(request).await.unwrap().into_inner().results.remove(0);
        assert_eq!(code(&result.status), 0, "{:?}", result.status);
        result.entry.unwrap()
    }

    pub async fn update(&self, entry: types::Entry) {
        let request = BatchUpdateEntryRequest { entries: vec![entry], input_mask: None, output_mask: None };
        let result = self.entries().await.batch_update_entry(request).await.unwrap().into_inner().results.remove(0);
        assert_eq!(code(&result.status), 0, "{:?}", result.status);
    }

    pub async fn unregister(&self, id: &str) {
        let request = BatchDeleteEntryRequest { ids: vec![id.into()] };
        let result = self.entries().await.batch_delete_entry(request).await.unwrap().into_inner().results.remove(0);
        assert_eq!(code(&result.status), 0, "{:?}", result.status);
    }

    /// An entry of this trust domain for whoever carries these selectors, not yet created.
    pub fn entry_for(&self, path: &str, selectors: &[&str]) -> types::Entry {
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

/// A connection to whoever listens on a Unix socket.
pub async fn channel(socket: &Path) -> Channel {
    Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap().connect().await.unwrap()
}

/// Of one item of a batch.
pub fn code(status: &Option<types::Status>) -> i32 {
    status.as_ref().unwrap().code
}
