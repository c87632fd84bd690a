//! Asks the zone's SPIFFE agent over SDS for the bundles that it gives to Envoys.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofide_xds::Node;
use cofide_xds::envoy::envoy::config::core::v3::BuildVersion;
use cofide_xds::envoy::envoy::config::core::v3::node::UserAgentVersionType;
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::{Secret, SpiffeCertValidatorConfig, secret};
use cofide_xds::envoy::envoy::service::discovery::v3::DiscoveryRequest;
use cofide_xds::envoy::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use cofide_xds::envoy::envoy::r#type::v3::SemanticVersion;
use cofide_xds::envoy::google::protobuf::{Struct, Value, value};
use cofide_xds::type_url::SECRET;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::Sight;
use super::sds::{ALL, Answer, Answers, Form, Meaning, ROOT_CA, Secrets};

/// A SPIFFE agent waits for an identity for a while.
const TIMEOUT: Duration = Duration::from_secs(10);
/// With which an Envoy has the validator for SPIFFE, and with which it has not.
const PRESENT_ENVOY: (u32, u32) = (1, 31);
const OLD_ENVOY: (u32, u32) = (1, 17);
/// By which an Envoy chooses for itself in SPIRE.
const DISABLE_VALIDATOR: &str = "disable_spiffe_cert_validation";

/// A client of the SPIFFE agent at the Workload API's socket.
#[derive(Debug)]
pub struct SecretsClient {
    endpoint: String,
    channel: Channel,
    /// How often it has connected: a SPIFFE agent with other settings is another process.
    connections: Arc<AtomicU64>,
    /// What was seen last over which connection.
    seen: Mutex<Option<(u64, Secrets)>>,
}

impl SecretsClient {
    /// `endpoint` is as `unix:///path`. Connects with the first call, and again whenever the connection was lost.
    pub fn new(endpoint: &str) -> Self {
        let path = endpoint.strip_prefix("unix:").unwrap_or(endpoint);
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        let connections = Arc::new(AtomicU64::new(0));
        let counted = connections.clone();
        // The address is never used: the connector ignores it and dials the socket.
        let channel = Endpoint::from_static("http://spiffe-agent.invalid").timeout(TIMEOUT).connect_with_connector_lazy(tower::service_fn(
            move |_: Uri| {
                let path = path.clone();
                counted.fetch_add(1, Ordering::SeqCst);
                async move { UnixStream::connect(&path).await.map(TokioIo::new) }
            },
        ));
        Self { endpoint: endpoint.to_owned(), channel, connections, seen: Mutex::default() }
    }

    /// Everything that shows how the names of bundles are given.
    pub async fn look(&self) -> Sight<Secrets> {
        match self.secrets().await {
            Ok(secrets) => Sight::Seen(secrets),
            Err(status) => Sight::Unknown(format!("SDS at {} does not answer: {:?}: {}", self.endpoint, status.code(), status.message())),
        }
    }

    /// SPIRE's agent complains in its log of whatever it has no answer to, so nothing is asked that is known already.
    async fn secrets(&self) -> Result<Secrets, Status> {
        let present = self.ask(ROOT_CA, Form::Present).await?;
        let connection = self.connections.load(Ordering::SeqCst);
        if let Some((of, seen)) = &*self.seen.lock().unwrap_or_else(PoisonError::into_inner)
            && *of == connection
            && seen.root_ca() == Meaning::AllBundles
            && seen.root_ca.present == present
        {
            return Ok(seen.clone());
        }
        let root_ca = self.answers(ROOT_CA, present).await?;
        let all = match root_ca.meaning() {
            Meaning::AllBundles => Answers::NONE,
            _ => self.answers(ALL, self.ask(ALL, Form::Present).await?).await?,
        };
        let secrets = Secrets { root_ca, all };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((connection, secrets.clone()));
        Ok(secrets)
    }

    async fn answers(&self, name: &str, present: Answer) -> Result<Answers, Status> {
        let (old, insisting) = match &present {
            // That these are all bundles shows already.
            Answer::Bundles(held) if held.len() > 1 => (Answer::Nothing, present.clone()),
            Answer::Bundles(_) => (self.ask(name, Form::Old).await?, present.clone()),
            _ => (self.ask(name, Form::Old).await?, self.ask(name, Form::Insisting).await?),
        };
        Ok(Answers { present, old, insisting })
    }

    /// Alone: of several names SPIRE gives nothing where one of them is unknown.
    async fn ask(&self, name: &str, form: Form) -> Result<Answer, Status> {
        let request = DiscoveryRequest {
            node: Some(node(form)),
            resource_names: vec![name.to_owned()],
            type_url: SECRET.to_owned(),
            ..DiscoveryRequest::default()
        };
        match SecretDiscoveryServiceClient::new(self.channel.clone()).fetch_secrets(request).await {
            Ok(response) => {
                let secrets = response.into_inner().resources.into_iter().filter_map(|any| Secret::decode(any.value.as_slice()).ok());
                Ok(secrets.filter(|secret| secret.name == name).map(read).next().unwrap_or(Answer::Nothing))
            }
            Err(status) => match status.code() {
                // A name that it does not know.
                Code::InvalidArgument | Code::NotFound => Ok(Answer::Nothing),
                // All bundles, in a form that cannot hold them. A connection that breaks can have the code, too.
                Code::Internal if status.message().contains("SPIFFE validator") => Ok(Answer::Nothing),
                _ => Err(status),
            },
        }
    }
}

fn node(form: Form) -> Node {
    let (major_number, minor_number) = if form == Form::Old { OLD_ENVOY } else { PRESENT_ENVOY };
    let version = SemanticVersion { major_number, minor_number, patch: 0 };
    let no = Value { kind: Some(value::Kind::BoolValue(false)) };
    let metadata = (form == Form::Insisting).then(|| Struct { fields: [(DISABLE_VALIDATOR.to_owned(), no)].into() });
    Node {
        id: "cofide-agent".to_owned(),
        user_agent_name: "envoy".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion { version: Some(version), metadata: None })),
        metadata,
        ..Node::default()
    }
}

fn read(secret: Secret) -> Answer {
    let Some(secret::Type::ValidationContext(context)) = secret.r#type else { return Answer::Nothing };
    let validator = context.custom_validator_config.and_then(|config| config.typed_config);
    let config = validator.and_then(|any| SpiffeCertValidatorConfig::decode(any.value.as_slice()).ok());
    match config {
        Some(config) => Answer::Bundles(config.trust_domains.into_iter().map(|domain| domain.name).collect::<BTreeSet<_>>()),
        None if context.trusted_ca.is_some() => Answer::Plain,
        None => Answer::Nothing,
    }
}
