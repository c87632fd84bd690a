//! A Workload API for one workload, over a socket, with identities that real authorities issue.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_api::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use cofide_api::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
    X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
};
use cofide_core::{Bundle, SpiffeId, TrustDomain};
use cofide_svid::authority::{AuthorityState, X509CertificateAuthority, X509Settings};
use cofide_svid::{Authorizer, BundleSet};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// A trust zone that can rotate.
pub(crate) struct Zone(X509CertificateAuthority);

impl Zone {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let trust_domain = TrustDomain::new(trust_domain).unwrap();
        Self(X509CertificateAuthority::create(trust_domain, X509Settings::default(), SystemTime::now()).unwrap())
    }

    pub(crate) fn prepare(&mut self) {
        self.0.prepare(SystemTime::now()).unwrap();
    }

    pub(crate) fn activate(&mut self) {
        self.0.activate(SystemTime::now()).unwrap();
    }

    pub(crate) fn revoke_retired(&mut self) {
        let state = self.0.state();
        for authority in state.iter().filter(|authority| authority.state == AuthorityState::Retired) {
            self.0.revoke(&authority.id).unwrap();
        }
    }

    /// The bundle as it will be once only the active authority is left.
    fn active_only(&self) -> Bundle {
        let active = self.0.authorities().remove(0);
        Bundle { x509_authorities: vec![active], ..Bundle::empty(self.0.trust_domain().clone()) }
    }

    fn bundle(&self) -> Vec<u8> {
        self.0.authorities().into_iter().flat_map(|authority| authority.der).collect()
    }
}

/// Waits until the server presents an SVID of the zone's active authority.
pub(crate) async fn until_presented(server: SocketAddr, zone: &Zone) {
    let bundles: BundleSet = [zone.active_only()].into_iter().collect();
    let authorizer = Authorizer::AnyIn(zone.0.trust_domain().clone());
    let connector = TlsConnector::from(Arc::new(cofide_svid::tls::client_config(None, Arc::new(bundles), authorizer)));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let stream = TcpStream::connect(server).await.unwrap();
        match connector.connect(server.ip().into(), stream).await {
            Ok(_) => return,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "still not presented: {error}"),
        }
    }
}

/// Serves one identity until it is dropped.
pub(crate) struct WorkloadApi {
    spiffe_id: SpiffeId,
    folder: tempfile::TempDir,
    response: watch::Sender<X509svidResponse>,
}

impl WorkloadApi {
    pub(crate) async fn start(spiffe_id: &str, own: &Zone, federated: &[&Zone]) -> Self {
        let spiffe_id = SpiffeId::new(spiffe_id).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (response, _) = watch::channel(respond(&spiffe_id, own, federated));
        let listener = UnixListener::bind(folder.path().join("api.sock")).unwrap();
        let server = tonic::transport::Server::builder().add_service(SpiffeWorkloadApiServer::new(Service(response.clone())));
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        Self { spiffe_id, folder, response }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix:{}", self.folder.path().join("api.sock").display())
    }

    /// Issues a new SVID and sends it, with the bundles of these zones, to whoever listens.
    pub(crate) fn update(&self, own: &Zone, federated: &[&Zone]) {
        self.response.send_replace(respond(&self.spiffe_id, own, federated));
    }
}

fn respond(spiffe_id: &SpiffeId, own: &Zone, federated: &[&Zone]) -> X509svidResponse {
    let svid = own.0.issue(spiffe_id, &[], &[], Duration::from_secs(600), SystemTime::now()).unwrap();
    let svid = X509svid {
        spiffe_id: spiffe_id.to_string(),
        x509_svid: svid.chain_der(),
        x509_svid_key: svid.private_key.secret_der().to_vec(),
        bundle: own.bundle(),
        hint: String::new(),
    };
    let federated_bundles: HashMap<_, _> = federated.iter().map(|zone| (zone.0.trust_domain().id_string(), zone.bundle())).collect();
    X509svidResponse { svids: vec![svid], crl: Vec::new(), federated_bundles: federated_bundles.into_iter().collect() }
}

struct Service(watch::Sender<X509svidResponse>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SpiffeWorkloadApi for Service {
    type FetchX509SVIDStream = Responses<X509svidResponse>;
    type FetchX509BundlesStream = Responses<X509BundlesResponse>;
    type FetchJWTBundlesStream = Responses<JwtBundlesResponse>;

    async fn fetch_x509svid(&self, _: Request<X509svidRequest>) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        Ok(Response::new(Box::pin(WatchStream::new(self.0.subscribe()).map(Ok))))
    }

    async fn fetch_x509_bundles(&self, _: Request<X509BundlesRequest>) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Err(Status::unimplemented("the pair fetches its bundles with its SVIDs"))
    }

    async fn fetch_jwtsvid(&self, _: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        Err(Status::unimplemented("the pair speaks TLS"))
    }

    async fn fetch_jwt_bundles(&self, _: Request<JwtBundlesRequest>) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(Status::unimplemented("the pair speaks TLS"))
    }

    async fn validate_jwtsvid(&self, _: Request<ValidateJwtsvidRequest>) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        Err(Status::unimplemented("the pair speaks TLS"))
    }
}
