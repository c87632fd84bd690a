//! The calls that an agent makes, over one channel.

use std::time::Duration;

use cofide_api::connect::agent_service::agent_service_client::AgentServiceClient;
use cofide_api::connect::receipt_service::receipt_service_client::ReceiptServiceClient;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_api::connect::{agent_service, receipt_service, trust_zone_service};
use cofide_api::types::{agent, federated_service};
use cofide_connect_client::{explain, not_recognised, patiently, refused_identity};
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
    #[error("{}", not_recognised(.0))]
    Unauthenticated(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        if let Some(said) = refused_identity(&status) {
            return Self::Unauthenticated(said);
        }
        match status.code() {
            Code::InvalidArgument
            | Code::AlreadyExists
            | Code::NotFound
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Self::Refused(status.message().to_owned()),
            _ => Self::Unreachable(explain(&status)),
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

    /// The federated services that this agent may see, those of its cluster.
    pub async fn list_federated_services(&self) -> Result<Vec<federated_service::FederatedService>, CallError> {
        let request = timed(agent_service::ListFederatedServicesRequest::default());
        Ok(self.agents().list_federated_services(request).await?.into_inner().services)
    }

    pub async fn register(&self, service: &FederatedService) -> Result<(), CallError> {
        let request = agent_service::RegisterFederatedServiceRequest { service: Some(message(service)) };
        patiently(|| {
            let (mut agents, request) = (self.agents(), timed(request.clone()));
            async move { agents.register_federated_service(request).await }
        })
        .await?;
        Ok(())
    }

    pub async fn update(&self, service: &FederatedService) -> Result<(), CallError> {
        let request = agent_service::UpdateFederatedServiceRequest { service: Some(message(service)) };
        patiently(|| {
            let (mut agents, request) = (self.agents(), timed(request.clone()));
            async move { agents.update_federated_service(request).await }
        })
        .await?;
        Ok(())
    }

    /// A service that Connect does not know counts as withdrawn.
    pub async fn deregister(&self, id: &FederatedServiceId) -> Result<(), CallError> {
        let request = agent_service::DeregisterFederatedServiceRequest { service_id: id.to_string() };
        let withdrawn = patiently(|| {
            let (mut agents, request) = (self.agents(), timed(request.clone()));
            async move { agents.deregister_federated_service(request).await }
        });
        match withdrawn.await {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            result => result.map(drop).map_err(CallError::from),
        }
    }

    pub async fn update_bundle(&self, zone: &TrustZoneId, bundle: &Bundle) -> Result<(), CallError> {
        let request = trust_zone_service::UpdateTrustZoneBundleRequest { bundle: Some(bundle.into()), trust_zone_id: zone.to_string() };
        patiently(|| {
            let (mut zones, request) = (TrustZoneServiceClient::new(self.channel.clone()), timed(request.clone()));
            async move { zones.update_trust_zone_bundle(request).await }
        })
        .await?;
        Ok(())
    }

    pub async fn update_status(&self, status: agent::AgentStatus) -> Result<(), CallError> {
        let request = agent_service::UpdateAgentStatusRequest { status: Some(status) };
        self.agents().update_agent_status(timed(request)).await?;
        Ok(())
    }

    /// Once: what is told again a little later is another reading.
    pub async fn report_held_bundles(&self, request: receipt_service::ReportHeldBundlesRequest) -> Result<(), CallError> {
        ReceiptServiceClient::new(self.channel.clone()).report_held_bundles(timed(request)).await?;
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
