//! `proto.connect.receipt_service.v1alpha1.ReceiptService`

use cofide_api::connect::receipt_service::federation_status::State;
use cofide_api::connect::receipt_service::receipt_service_server::ReceiptService;
use cofide_api::connect::receipt_service::{
    AgentStatus, BindingStatus, ClusterStatus, DirectionStatus, FederationStatus, GetFederationStatusRequest, GetFederationStatusResponse,
    ListAgentStatusesRequest, ListAgentStatusesResponse, ListBindingStatusesRequest, ListBindingStatusesResponse,
    ListFederationStatusesRequest, ListFederationStatusesResponse, ListReceiptsRequest, ListReceiptsResponse, ReportHeldBundlesRequest,
    ReportHeldBundlesResponse, binding_status,
};
use cofide_api::convert::bundle_reading::Draft;
use cofide_api::convert::{receipt, timestamp};
use cofide_store::{AgentFilter, AttestationPolicyBindingFilter, FederationFilter, ReceiptFilter};
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse};
use crate::app::agent_status::AgentStanding;
use crate::app::binding_status::{BindingStatus as BindingStanding, PartnerStatus};
use crate::app::federation_status::{self as rules, Health};
use crate::error::Error;

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

    async fn get_federation_status(
        &self,
        request: Request<GetFederationStatusRequest>,
    ) -> Result<Response<GetFederationStatusResponse>, Status> {
        let GetFederationStatusRequest { trust_zone_id, remote_trust_zone_id } = request.into_inner();
        let zone = parse("trust_zone_id", Some(&trust_zone_id))?;
        let remote = parse("remote_trust_zone_id", Some(&remote_trust_zone_id))?;
        let [direction, reverse] = self.app.federation_status(&zone, &remote).await?.map(direction_status);
        Ok(Response::new(GetFederationStatusResponse { direction: Some(direction), reverse: Some(reverse) }))
    }

    async fn list_binding_statuses(
        &self,
        request: Request<ListBindingStatusesRequest>,
    ) -> Result<Response<ListBindingStatusesResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = AttestationPolicyBindingFilter {
            organization_id: None,
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            policy_id: optional("filter.policy_id", filter.policy_id.as_deref())?,
        };
        let statuses = self.app.binding_statuses(&filter).await?;
        Ok(Response::new(ListBindingStatusesResponse { statuses: statuses.into_iter().map(binding_status).collect() }))
    }

    async fn report_held_bundles(&self, request: Request<ReportHeldBundlesRequest>) -> Result<Response<ReportHeldBundlesResponse>, Status> {
        let context = context(&request)?;
        let draft = Draft::try_from(request.get_ref()).map_err(Error::from)?;
        self.app.report_held_bundles(&context, draft).await?;
        Ok(Response::new(ReportHeldBundlesResponse {}))
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

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn agent_status(standing: &AgentStanding) -> AgentStatus {
    let AgentStanding { agent, sign, applied_revision, outstanding, rejected } = standing;
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

fn state(health: Health) -> State {
    match health {
        Health::Healthy => State::Healthy,
        Health::Unhealthy => State::Unhealthy,
        Health::Waiting => State::Waiting,
        Health::Unknown => State::Unknown,
    }
}

fn binding_status(status: BindingStanding) -> BindingStatus {
    let partner = |partner: PartnerStatus| binding_status::Partner {
        trust_zone_id: partner.trust_zone_id.into(),
        state: state(partner.health).into(),
        reason: partner.reason,
        since: partner.since.map(timestamp),
    };
    BindingStatus {
        binding_id: status.binding_id.into(),
        partners: status.partners.into_iter().map(partner).collect(),
        left_out: count(status.left_out),
    }
}

fn direction_status(status: rules::DirectionStatus) -> DirectionStatus {
    let cluster = |cluster: rules::ClusterStatus| ClusterStatus {
        cluster_id: cluster.cluster_id.into(),
        state: state(cluster.health).into(),
        reason: cluster.reason,
        held: cluster.held.as_ref().map(Into::into),
        since: cluster.held_since.map(timestamp),
        read_at: cluster.read_at.map(timestamp),
    };
    DirectionStatus {
        trust_zone_id: status.trust_zone_id.into(),
        remote_trust_zone_id: status.remote_trust_zone_id.into(),
        federation: status.federation.map(message),
        delivered: status.delivered.as_ref().map(|(found, _)| found.into()),
        delivered_at: status.delivered.map(|(_, at)| timestamp(at)),
        clusters: status.clusters.into_iter().map(cluster).collect(),
    }
}

fn message(status: rules::FederationStatus) -> FederationStatus {
    let state = state(status.health);
    FederationStatus {
        federation_id: status.federation.id.into(),
        trust_zone_id: status.federation.trust_zone_id.into(),
        remote_trust_zone_id: status.federation.remote_trust_zone_id.into(),
        state: state.into(),
        reason: status.reason,
        observed_at: status.observed_at.map(timestamp),
        since: status.since.map(timestamp),
    }
}
