//! A server in this process, clients for its sockets, and patience with an end.

use std::future::Future;
use std::path::Path;
use std::time::Instant;

use cofide_api::spire::types;
use cofide_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use cofide_api::workload::{X509svidRequest, X509svidResponse};
use cofide_core::{Bundle, SpiffeId, TrustDomain};
use cofide_svid::x509::{KeyUsage, X509SvidError, split_der, verify};
use cofide_svid::{BundleSet, PrivateKey, X509Svid};
use cofide_trust_zone_server::config::Config;
use cofide_trust_zone_server::run::{self, Bound};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

pub(crate) use cofide_testkit::spire_api::{SpireApi, channel, code};
pub(crate) use cofide_testkit::wait::{PATIENCE, eventually};

pub(crate) struct TestServer {
    pub(crate) bound: Bound,
    pub(crate) api: SpireApi,
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
        let api = SpireApi::new(bound.admin_socket.clone(), bound.trust_domain.clone());
        Ok(Self { bound, api, folder, settings, shutdown, running: tokio::spawn(server.wait()) })
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

    pub(crate) fn workload_api_address(&self) -> String {
        format!("unix:{}", self.bound.workload_api_socket.display())
    }

    pub(crate) async fn workload_api(&self) -> WorkloadApiClient {
        SpiffeWorkloadApiClient::with_interceptor(channel(&self.bound.workload_api_socket).await, with_security_header)
    }

    pub(crate) async fn x509_svids(&self) -> Streaming<X509svidResponse> {
        self.workload_api().await.fetch_x509svid(X509svidRequest {}).await.unwrap().into_inner()
    }

    /// An entry for this process.
    pub(crate) fn entry(&self, path: &str) -> types::Entry {
        self.api.entry_for(path, &[&own_uid()])
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

pub(crate) fn own_uid() -> String {
    format!("unix:uid:{}", nix::unistd::geteuid())
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
