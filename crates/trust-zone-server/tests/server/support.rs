//! A server in this process, clients for its sockets, and patience with an end.

use std::future::Future;
use std::path::Path;
use std::time::Instant;

use cofide_api::spire::server::bundle::bundle_client::BundleClient;
use cofide_api::spire::server::bundle::{BatchSetFederatedBundleRequest, GetBundleRequest};
use cofide_api::spire::server::entry::entry_client::EntryClient;
use cofide_api::spire::server::entry::{BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest};
use cofide_api::spire::server::localauthority::local_authority_client::LocalAuthorityClient;
use cofide_api::spire::server::trustdomain::trust_domain_client::TrustDomainClient;
use cofide_api::spire::types;
use cofide_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use cofide_api::workload::{X509svidRequest, X509svidResponse};
use cofide_core::{Bundle, SpiffeId, TrustDomain};
use cofide_svid::x509::{KeyUsage, X509SvidError, split_der, verify};
use cofide_svid::{BundleSet, PrivateKey, X509Svid};
use cofide_trust_zone_server::config::Config;
use cofide_trust_zone_server::run::{self, Bound};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tower::service_fn;

pub(crate) use cofide_testkit::wait::{PATIENCE, eventually};

pub(crate) struct TestServer {
    pub(crate) bound: Bound,
    pub(crate) folder: TempDir,
    settings: Value,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl TestServer {
    pub(crate) async fn start(trust_domain: &str) -> Self {
        Self::start_with(trust_domain, json!({})).await
    }

    /// With these keys of the configuration file.
    pub(crate) async fn start_with(trust_domain: &str, settings: Value) -> Self {
        let mut all = json!({"trust_domain": trust_domain, "bundle_endpoint": {"address": "127.0.0.1:0"}});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Self::start_in(tempfile::tempdir().unwrap(), all).await.unwrap()
    }

    pub(crate) async fn start_in(folder: TempDir, settings: Value) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        let server = run::start(config(folder.path(), &settings), shutdown.clone()).await?;
        let bound = server.bound().clone();
        Ok(Self { bound, folder, settings, shutdown, running: tokio::spawn(server.wait()) })
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        within("the server's stop", self.running).await.unwrap().unwrap();
        self.folder
    }

    /// Stops and starts again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let settings = self.settings.clone();
        Self::start_in(self.stop().await, settings).await.unwrap()
    }

    pub(crate) fn shutdown(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn admin(&self) -> Channel {
        channel(&self.bound.admin_socket).await
    }

    pub(crate) async fn entries(&self) -> EntryClient<Channel> {
        EntryClient::new(self.admin().await)
    }

    pub(crate) async fn bundles(&self) -> BundleClient<Channel> {
        BundleClient::new(self.admin().await)
    }

    pub(crate) async fn relationships(&self) -> TrustDomainClient<Channel> {
        TrustDomainClient::new(self.admin().await)
    }

    pub(crate) async fn authorities(&self) -> LocalAuthorityClient<Channel> {
        LocalAuthorityClient::new(self.admin().await)
    }

    pub(crate) fn workload_api_address(&self) -> String {
        format!("unix:{}", self.bound.workload_api_socket.display())
    }

    pub(crate) async fn workload_api(&self) -> WorkloadApiClient {
        SpiffeWorkloadApiClient::with_interceptor(channel(&self.bound.workload_api_socket).await, with_security_header)
    }

    /// The server's own bundle.
    pub(crate) async fn bundle(&self) -> Bundle {
        self.bundles().await.get_bundle(GetBundleRequest::default()).await.unwrap().into_inner().try_into().unwrap()
    }

    pub(crate) async fn set_bundle(&self, bundle: &Bundle) {
        let request = BatchSetFederatedBundleRequest { bundle: vec![bundle.into()], output_mask: None };
        let response = self.bundles().await.batch_set_federated_bundle(request).await.unwrap().into_inner();
        assert_eq!(code(&response.results[0].status), 0, "{:?}", response.results[0].status);
    }

    /// Registers this process; panics unless that works.
    pub(crate) async fn register(&self, entry: types::Entry) -> types::Entry {
        let request = BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
        let mut response = self.entries().await.batch_create_entry(request).await.unwrap().into_inner();
        let result = response.results.remove(0);
        assert_eq!(code(&result.status), 0, "{:?}", result.status);
        result.entry.unwrap()
    }

    pub(crate) async fn update(&self, entry: types::Entry) {
        let request = BatchUpdateEntryRequest { entries: vec![entry], input_mask: None, output_mask: None };
        let response = self.entries().await.batch_update_entry(request).await.unwrap().into_inner();
        assert_eq!(code(&response.results[0].status), 0, "{:?}", response.results[0].status);
    }

    pub(crate) async fn unregister(&self, id: &str) {
        let request = BatchDeleteEntryRequest { ids: vec![id.into()] };
        let response = self.entries().await.batch_delete_entry(request).await.unwrap().into_inner();
        assert_eq!(code(&response.results[0].status), 0, "{:?}", response.results[0].status);
    }

    pub(crate) async fn x509_svids(&self) -> Streaming<X509svidResponse> {
        self.workload_api().await.fetch_x509svid(X509svidRequest {}).await.unwrap().into_inner()
    }

    /// An entry for this process.
    pub(crate) fn entry(&self, path: &str) -> types::Entry {
        self.entry_for(path, &[&own_uid()])
    }

    pub(crate) fn entry_for(&self, path: &str, selectors: &[&str]) -> types::Entry {
        let id = |path: &str| Some(types::Spiffeid { trust_domain: self.bound.trust_domain.to_string(), path: path.into() });
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

pub(crate) type WorkloadApiClient = SpiffeWorkloadApiClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

pub(crate) fn with_security_header(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    Ok(request)
}

pub(crate) fn config(folder: &Path, settings: &Value) -> Config {
    let mut settings = settings.clone();
    settings["data_dir"] = folder.to_str().unwrap().into();
    cofide_runtime::config::load(None, &settings).unwrap()
}

pub(crate) async fn channel(path: &Path) -> Channel {
    let path = path.to_owned();
    let connect = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap()
}

pub(crate) fn own_uid() -> String {
    format!("unix:uid:{}", nix::unistd::geteuid())
}

pub(crate) fn code(status: &Option<types::Status>) -> i32 {
    status.as_ref().unwrap().code
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// The next message, which must come.
pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> T {
    within("the next message", stream.message()).await.unwrap().expect("the stream goes on")
}

/// How a stream ends, which it must.
pub(crate) async fn end<T: std::fmt::Debug>(stream: &mut Streaming<T>) -> Status {
    within("the end of the stream", async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a status"),
                Err(status) => return status,
            }
        }
    })
    .await
}

/// The first message that `accepts`.
pub(crate) async fn next_where<T: std::fmt::Debug>(stream: &mut Streaming<T>, accepts: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < PATIENCE {
        let message = next(stream).await;
        if accepts(&message) {
            return message;
        }
        last = Some(message);
    }
    panic!("no message was accepted; the last one was {last:?}")
}

/// The first SVID of an answer.
pub(crate) fn svid(response: &X509svidResponse) -> X509Svid {
    let svid = &response.svids[0];
    let svid = X509Svid::from_der(&svid.x509_svid, PrivateKey::from_pkcs8_der(svid.x509_svid_key.clone())).unwrap();
    assert_eq!(svid.spiffe_id.to_string(), response.svids[0].spiffe_id);
    svid
}

pub(crate) fn spiffe_ids(response: &X509svidResponse) -> Vec<&str> {
    response.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect()
}

/// How many authorities the answer's own bundle has.
pub(crate) fn authorities(response: &X509svidResponse) -> usize {
    split_der(&response.svids[0].bundle).unwrap().len()
}

/// Whether somebody who holds `bundle` accepts the SVID now.
pub(crate) fn accepts(bundle: &Bundle, svid: &X509Svid) -> Result<SpiffeId, X509SvidError> {
    let held: BundleSet = [bundle.clone()].into_iter().collect();
    verify(&svid.certificates, &held, std::time::SystemTime::now(), KeyUsage::Server)
}
