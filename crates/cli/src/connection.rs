//! The way to Connect: one channel, a client per service.

use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use cofide_api::connect::agent_service::agent_service_client::AgentServiceClient;
use cofide_api::connect::ap_binding_service::ap_binding_service_client::ApBindingServiceClient;
use cofide_api::connect::attestation_policy_service::attestation_policy_service_client::AttestationPolicyServiceClient;
use cofide_api::connect::audit_service::audit_service_client::AuditServiceClient;
use cofide_api::connect::bundle_package_service::bundle_package_service_client::BundlePackageServiceClient;
use cofide_api::connect::cluster_service::cluster_service_client::ClusterServiceClient;
use cofide_api::connect::explain_service::explain_service_client::ExplainServiceClient;
use cofide_api::connect::federation_service::federation_service_client::FederationServiceClient;
use cofide_api::connect::receipt_service::receipt_service_client::ReceiptServiceClient;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_connect_client::{ConnectUrl, Credential, FileError, UserChannel, connect_as_user};
use cofide_core::ControlPlaneTrust;
use cofide_runtime::files::{self, Account};
use tonic::{Response, Status};

use crate::config::Config;
use crate::error::{Error, Result};

/// A person waits, but not for ever.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of one answer. A list comes whole, and that of all federated services is long where there are many clusters.
const MAX_ANSWER: usize = 64 << 20;

/// Connect, as the person whose credential it is.
pub struct Connection {
    channel: UserChannel,
    url: ConnectUrl,
    connect: ControlPlaneTrust,
}

macro_rules! clients {
    ($($name:ident: $client:ident),* $(,)?) => {$(
        pub fn $name(&self) -> $client<UserChannel> {
            $client::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
        }
    )*};
}

impl Connection {
    clients! {
        trust_zones: TrustZoneServiceClient,
        clusters: ClusterServiceClient,
        federations: FederationServiceClient,
        attestation_policies: AttestationPolicyServiceClient,
        ap_bindings: ApBindingServiceClient,
        agents: AgentServiceClient,
        audit: AuditServiceClient,
        bundle_packages: BundlePackageServiceClient,
        receipts: ReceiptServiceClient,
        explanations: ExplainServiceClient,
    }

    /// Reads the credential and connects; what answers must be exactly the Connect that the credential names.
    pub async fn open(config: &Config) -> Result<Self> {
        let mut credential = credential(config)?;
        if let Some(url) = &config.connect_url {
            credential.connect_url = Some(url.parse::<ConnectUrl>().map_err(|error| Error::Usage(error.to_string()))?);
        }
        let channel = connect_as_user(&credential).await?;
        match (credential.connect_url, credential.connect) {
            (Some(url), Some(connect)) => Ok(Self { channel, url, connect }),
            _ => Err(Error::failed("the credential does not say where Connect is and how to recognise it")),
        }
    }

    /// Where Connect is.
    pub fn url(&self) -> &ConnectUrl {
        &self.url
    }

    /// How Connect is recognised.
    pub fn connect(&self) -> &ControlPlaneTrust {
        &self.connect
    }
}

fn credential(config: &Config) -> Result<Credential> {
    const HINT: &str = "name the credential file with --credentials or COFIDE_CREDENTIALS; cofide-connect writes one at its first start: \
                        admin-credential.json in its data folder";
    let path = config.credentials.as_ref().ok_or_else(|| Error::failed("no credential file is named").hint(HINT))?;
    Credential::read(path).map_err(|error| {
        let failed = Error::failed(error.to_string());
        match error {
            FileError::File(files::FileError::NotOwner { .. }) => foreign(path).unwrap_or(failed),
            FileError::File(files::FileError::Io { error, .. }) if error.kind() == ErrorKind::PermissionDenied => {
                foreign(path).unwrap_or(failed)
            }
            // What else keeps a file from being read has its own remedy.
            FileError::File(_) if !error.is_not_found() => failed,
            FileError::File(_) | FileError::Content { .. } => failed.hint(HINT),
        }
    })
}

/// The credential of somebody else: whose it is, who asks, and the two ways on. To give the file away is none of them, as
/// Connect reads it too.
fn foreign(path: &Path) -> Option<Error> {
    let place = path.ancestors().find(|place| std::fs::metadata(place).is_ok())?;
    let (owner, own) = (Account::of(&std::fs::metadata(place).ok()?), Account::own());
    let obstacle = if place == path { "it".to_owned() } else { format!("the folder {}", place.display()) };
    let (path, uid) = (path.display(), own.uid);
    (owner != own).then(|| {
        Error::failed(format!("cannot read {path}: {obstacle} belongs to {owner}, and cofidectl runs as {own}")).hint(format!(
            "run cofidectl as {owner}, or take a copy of your own: sudo install -D -o {uid} -m 600 {path} ~/.cofide/credentials"
        ))
    })
}

/// Awaits a call and unwraps its answer.
pub async fn call<T>(request: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
    match tokio::time::timeout(CALL_TIMEOUT, request).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("").into()),
    }
}
