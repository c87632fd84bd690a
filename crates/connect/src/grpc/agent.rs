//! `proto.connect.agent_service.v1alpha1.AgentService`

use cofide_api::connect::agent_service::agent_service_server::AgentService;
use cofide_api::connect::agent_service::{
    CreateAgentJoinTokenRequest, CreateAgentJoinTokenResponse, DeregisterFederatedServiceRequest, DeregisterFederatedServiceResponse,
    GetFederatedServiceRequest, GetFederatedServiceResponse, ListFederatedServicesRequest, ListFederatedServicesResponse,
    RegisterFederatedServiceRequest, RegisterFederatedServiceResponse, UpdateAgentStatusRequest, UpdateAgentStatusResponse,
    UpdateFederatedServiceRequest, UpdateFederatedServiceResponse,
};
use cofide_api::convert::federated_service::Draft;
use cofide_core::AgentStatus;
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse, required};
use crate::error::Error;

fn draft(message: Option<cofide_api::types::federated_service::FederatedService>) -> Result<Draft, Error> {
    Ok(Draft::try_from(&required("federated_service", message)?)?)
}

#[tonic::async_trait]
impl AgentService for Api {
    async fn create_agent_join_token(
        &self,
        request: Request<CreateAgentJoinTokenRequest>,
    ) -> Result<Response<CreateAgentJoinTokenResponse>, Status> {
        let context = context(&request)?;
        let CreateAgentJoinTokenRequest { trust_zone_id, cluster_id } = request.into_inner();
        let zone = parse("trust_zone_id", trust_zone_id.as_deref())?;
        let cluster = parse("cluster_id", cluster_id.as_deref())?;
        let secret = self.app.create_join_token(&context, &zone, &cluster).await?;
        Ok(Response::new(CreateAgentJoinTokenResponse { agent_token: Some(secret.expose().to_owned()) }))
    }

    async fn update_agent_status(&self, request: Request<UpdateAgentStatusRequest>) -> Result<Response<UpdateAgentStatusResponse>, Status> {
        let context = context(&request)?;
        let status = AgentStatus::try_from(required("status", request.into_inner().status)?).map_err(Error::from)?;
        self.app.update_agent_status(&context, status).await?;
        Ok(Response::new(UpdateAgentStatusResponse {}))
    }

    async fn register_federated_service(
        &self,
        request: Request<RegisterFederatedServiceRequest>,
    ) -> Result<Response<RegisterFederatedServiceResponse>, Status> {
        let context = context(&request)?;
        let id = self.app.register_federated_service(&context, draft(request.into_inner().service)?).await?;
        Ok(Response::new(RegisterFederatedServiceResponse { service_id: id.into() }))
    }

    async fn deregister_federated_service(
        &self,
        request: Request<DeregisterFederatedServiceRequest>,
    ) -> Result<Response<DeregisterFederatedServiceResponse>, Status> {
        let context = context(&request)?;
        let service_id = request.into_inner().service_id;
        self.app.deregister_federated_service(&context, &parse("service_id", Some(&service_id))?).await?;
        Ok(Response::new(DeregisterFederatedServiceResponse { service_id }))
    }

    async fn update_federated_service(
        &self,
        request: Request<UpdateFederatedServiceRequest>,
    ) -> Result<Response<UpdateFederatedServiceResponse>, Status> {
        let context = context(&request)?;
        let id = self.app.update_federated_service(&context, draft(request.into_inner().service)?).await?;
        Ok(Response::new(UpdateFederatedServiceResponse { service_id: id.into() }))
    }

    async fn get_federated_service(
        &self,
        request: Request<GetFederatedServiceRequest>,
    ) -> Result<Response<GetFederatedServiceResponse>, Status> {
        let context = context(&request)?;
        let id = parse("service_id", Some(&request.into_inner().service_id))?;
        let service = self.app.federated_service(&context, &id).await?;
        Ok(Response::new(GetFederatedServiceResponse { service: Some(service.into()) }))
    }

    async fn list_federated_services(
        &self,
        request: Request<ListFederatedServicesRequest>,
    ) -> Result<Response<ListFederatedServicesResponse>, Status> {
        let context = context(&request)?;
        let organization = optional("org_id", Some(&request.into_inner().org_id))?;
        let services = self.app.federated_services(&context, organization).await?;
        Ok(Response::new(ListFederatedServicesResponse { services: services.into_iter().map(Into::into).collect() }))
    }
}
