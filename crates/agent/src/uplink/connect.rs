//! The calls that an agent makes, over one channel.

use std::time::Duration;

use cofide_api::connect::agent_service::agent_service_client::AgentServiceClient;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_api::connect::{agent_service, trust_zone_service};
use cofide_api::types::{agent, federated_service};
use cofide_connect_client::ConnectError;
use cofide_core::{Bundle, FederatedService, FederatedServiceId, TrustZoneId};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const TIMEOUT: Duration = Duration::from_secs(15);

/// The list of a cluster's services, each near its bounds, is longer than the four mebibytes that gRPC allows by default. Bytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// Why a call failed, as far as it matters for what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer, or none about the matter itself: try again.
    #[error("{0}")]
    Unreachable(String),
    /// Connect understood and said no: trying the same again is of no use until something changes.
    #[error("Connect refused: {0}")]
    Refused(String),
    /// Connect does not know who is speaking.
    #[error("Connect does not recognise this agent: {0}")]
    Unauthenticated(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument
            | Code::AlreadyExists
            | Code::NotFound
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Self::Refused(status.message().to_owned()),
            Code::Unauthenticated => Self::Unauthenticated(status.message().to_owned()),
            code => Self::Unreachable(match ConnectError::within(&status) {
                Some(error) => error.to_string(),
                None if status.message().is_empty() => code.to_string(),
                None => status.message().to_owned(),
            }),
        }
    }
}

/// Connect, as an agent that has joined calls it.
#[derive(Clone, Debug)]
pub struct Connect {
    channel: Channel,
}

impl Connect {
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }

    fn agents(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    /// The federated services that this agent may see, those of its zone.
    pub async fn list_federated_services(&self) -> Result<Vec<federated_service::FederatedService>, CallError> {
        let request = timed(agent_service::ListFederatedServicesRequest::default());
        Ok(self.agents().list_federated_services(request).await?.into_inner().services)
    }

    pub async fn register(&self, service: &FederatedService) -> Result<(), CallError> {
        let request = agent_service::RegisterFederatedServiceRequest { service: Some(message(service)) };
        self.agents().register_federated_service(timed(request)).await?;
        Ok(())
    }

    pub async fn update(&self, service: &FederatedService) -> Result<(), CallError> {
        let request = agent_service::UpdateFederatedServiceRequest { service: Some(message(service)) };
        self.agents().update_federated_service(timed(request)).await?;
        Ok(())
    }

    /// A service that Connect does not know counts as withdrawn.
    pub async fn deregister(&self, id: &FederatedServiceId) -> Result<(), CallError> {
        let request = agent_service::DeregisterFederatedServiceRequest { service_id: id.to_string() };
        match self.agents().deregister_federated_service(timed(request)).await {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            result => result.map(drop).map_err(CallError::from),
        }
    }

    pub async fn update_bundle(&self, zone: &TrustZoneId, bundle: &Bundle) -> Result<(), CallError> {
        let request = trust_zone_service::UpdateTrustZoneBundleRequest { bundle: Some(bundle.into()), trust_zone_id: zone.to_string() };
        TrustZoneServiceClient::new(self.channel.clone()).update_trust_zone_bundle(timed(request)).await?;
        Ok(())
    }

    pub async fn update_status(&self, status: agent::AgentStatus) -> Result<(), CallError> {
        let request = agent_service::UpdateAgentStatusRequest { status: Some(status) };
        self.agents().update_agent_status(timed(request)).await?;
        Ok(())
    }
}

/// Times are Connect's.
fn message(service: &FederatedService) -> federated_service::FederatedService {
    federated_service::FederatedService { created_at: None, last_updated_at: None, ..service.into() }
}

pub(super) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}
