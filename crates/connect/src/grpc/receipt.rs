//! `proto.connect.receipt_service.v1alpha1.ReceiptService`

use cofide_api::connect::receipt_service::federation_status::State;
use cofide_api::connect::receipt_service::receipt_service_server::ReceiptService;
use cofide_api::connect::receipt_service::{
    AgentStatus, FederationStatus, ListAgentStatusesRequest, ListAgentStatusesResponse, ListFederationStatusesRequest,
    ListFederationStatusesResponse, ListReceiptsRequest, ListReceiptsResponse,
};
use cofide_api::convert::{receipt, timestamp};
use cofide_store::{AgentFilter, FederationFilter, ReceiptFilter};
use tonic::{Request, Response, Status};

use super::{Api, optional};
use crate::app::agent_status::AgentStanding;
use crate::app::federation_status::{self as rules, Health};

#[tonic::async_trait]
impl ReceiptService for Api {
    async fn list_receipts(&self, request: Request<ListReceiptsRequest>) -> Result<Response<ListReceiptsResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = ReceiptFilter {
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            cluster_id: optional("filter.cluster_id", filter.cluster_id.as_deref())?,
            ..ReceiptFilter::default()
        };
        let receipts = self.app.receipts(&filter).await?;
        Ok(Response::new(ListReceiptsResponse {
            receipts: receipts.iter().map(|(about, is_current)| receipt::receipt(about, *is_current)).collect(),
        }))
    }

    async fn list_federation_statuses(
        &self,
        request: Request<ListFederationStatusesRequest>,
    ) -> Result<Response<ListFederationStatusesResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = FederationFilter {
            organization_id: None,
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            remote_trust_zone_id: optional("filter.remote_trust_zone_id", filter.remote_trust_zone_id.as_deref())?,
        };
        let statuses = self.app.federation_statuses(&filter).await?;
        Ok(Response::new(ListFederationStatusesResponse { statuses: statuses.into_iter().map(message).collect() }))
    }

    async fn list_agent_statuses(&self, request: Request<ListAgentStatusesRequest>) -> Result<Response<ListAgentStatusesResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = AgentFilter {
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            cluster_id: optional("filter.cluster_id", filter.cluster_id.as_deref())?,
        };
        let standings = self.app.agent_standings(&filter).await?;
        Ok(Response::new(ListAgentStatusesResponse { statuses: standings.iter().map(agent_status).collect() }))
    }
}

fn agent_status(standing: &AgentStanding) -> AgentStatus {
    let AgentStanding { agent, sign, applied_revision, outstanding, rejected } = standing;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    AgentStatus {
        agent: Some(agent.into()),
        spiffe_id: agent.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        connected: sign.is_connected,
        last_seen_at: sign.last_seen_at.map(timestamp),
        reported: agent.status.as_ref().map(Into::into),
        applied_revision: *applied_revision,
        outstanding: count(*outstanding),
        rejected: count(*rejected),
    }
}

fn message(status: rules::FederationStatus) -> FederationStatus {
    let state = match status.health {
        Health::Healthy => State::Healthy,
        Health::Unhealthy => State::Unhealthy,
        Health::Waiting => State::Waiting,
        Health::Unknown => State::Unknown,
    };
    FederationStatus {
        federation_id: status.federation.id.into(),
        trust_zone_id: status.federation.trust_zone_id.into(),
        remote_trust_zone_id: status.federation.remote_trust_zone_id.into(),
        state: state.into(),
        reason: status.reason,
        observed_at: status.observed_at.map(timestamp),
    }
}
