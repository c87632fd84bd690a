//! `proto.connect.trust_zone_service.v1alpha1.TrustZoneService`

use cofide_api::connect::trust_zone_service::trust_zone_service_server::TrustZoneService;
use cofide_api::connect::trust_zone_service::{
    CreateTrustZoneRequest, CreateTrustZoneResponse, DestroyTrustZoneRequest, DestroyTrustZoneResponse, GetTrustZoneRequest,
    GetTrustZoneResponse, ListTrustZonesRequest, ListTrustZonesResponse, RegisterAgentRequest, RegisterAgentResponse,
    RegisterTrustZoneServerRequest, RegisterTrustZoneServerResponse, UpdateTrustZoneBundleRequest, UpdateTrustZoneBundleResponse,
    UpdateTrustZoneRequest, UpdateTrustZoneResponse,
};
use cofide_api::convert::trust_zone::Draft;
use cofide_core::{Bundle, JoinTokenSecret};
use cofide_store::TrustZoneFilter;
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse, required};
use crate::app::agent::Introduction;
use crate::error::Error;

fn draft(message: Option<cofide_api::types::trust_zone::TrustZone>) -> Result<Draft, Error> {
    Ok(Draft::try_from(&required("trust_zone", message)?)?)
}

#[tonic::async_trait]
impl TrustZoneService for Api {
    async fn create_trust_zone(&self, request: Request<CreateTrustZoneRequest>) -> Result<Response<CreateTrustZoneResponse>, Status> {
        let context = context(&request)?;
        let zone = self.app.create_trust_zone(&context, draft(request.into_inner().trust_zone)?).await?;
        Ok(Response::new(CreateTrustZoneResponse { trust_zone: Some(zone.into()) }))
    }

    async fn destroy_trust_zone(&self, request: Request<DestroyTrustZoneRequest>) -> Result<Response<DestroyTrustZoneResponse>, Status> {
        let context = context(&request)?;
        let id = parse("trust_zone_id", request.into_inner().trust_zone_id.as_deref())?;
        self.app.destroy_trust_zone(&context, &id).await?;
        Ok(Response::new(DestroyTrustZoneResponse {}))
    }

    async fn get_trust_zone(&self, request: Request<GetTrustZoneRequest>) -> Result<Response<GetTrustZoneResponse>, Status> {
        let id = parse("trust_zone_id", request.into_inner().trust_zone_id.as_deref())?;
        let zone = self.app.trust_zone(&id).await?;
        Ok(Response::new(GetTrustZoneResponse { trust_zone: Some(zone.into()) }))
    }

    async fn list_trust_zones(&self, request: Request<ListTrustZonesRequest>) -> Result<Response<ListTrustZonesResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = TrustZoneFilter {
            organization_id: optional("filter.org_id", filter.org_id.as_deref())?,
            name: optional("filter.name", filter.name.as_deref())?,
            trust_domain: optional("filter.trust_domain", filter.trust_domain.as_deref())?,
        };
        let zones = self.app.trust_zones(&filter).await?;
        Ok(Response::new(ListTrustZonesResponse { trust_zones: zones.into_iter().map(Into::into).collect() }))
    }

    async fn update_trust_zone(&self, request: Request<UpdateTrustZoneRequest>) -> Result<Response<UpdateTrustZoneResponse>, Status> {
        let context = context(&request)?;
        let zone = self.app.update_trust_zone(&context, draft(request.into_inner().trust_zone)?).await?;
        Ok(Response::new(UpdateTrustZoneResponse { trust_zone: Some(zone.into()) }))
    }

    async fn register_agent(&self, request: Request<RegisterAgentRequest>) -> Result<Response<RegisterAgentResponse>, Status> {
        let context = context(&request)?;
        let RegisterAgentRequest { agent, agent_token, bundle } = request.into_inner();
        let agent = required("agent", agent)?;
        let introduction = Introduction {
            agent_id: optional("agent.agent_id", Some(&agent.agent_id))?,
            trust_zone_id: parse("agent.trust_zone_id", Some(&agent.trust_zone_id))?,
            cluster_id: parse("agent.cluster_id", Some(&agent.cluster_id))?,
            token: JoinTokenSecret::new(agent_token),
            bundle: Bundle::try_from(required("bundle", bundle)?).map_err(Error::from)?,
        };
        let id = self.app.register_agent(&context, introduction).await?;
        Ok(Response::new(RegisterAgentResponse { agent_id: id.into() }))
    }

    async fn register_trust_zone_server(
        &self,
        _: Request<RegisterTrustZoneServerRequest>,
    ) -> Result<Response<RegisterTrustZoneServerResponse>, Status> {
        Err(Status::unimplemented("trust zone servers do not register in this version; a zone's agent delivers its bundle"))
    }

    async fn update_trust_zone_bundle(
        &self,
        request: Request<UpdateTrustZoneBundleRequest>,
    ) -> Result<Response<UpdateTrustZoneBundleResponse>, Status> {
        let context = context(&request)?;
        let UpdateTrustZoneBundleRequest { bundle, trust_zone_id } = request.into_inner();
        let id = optional("trust_zone_id", Some(&trust_zone_id))?;
        let bundle = Bundle::try_from(required("bundle", bundle)?).map_err(Error::from)?;
        self.app.update_trust_zone_bundle(&context, id, bundle).await?;
        Ok(Response::new(UpdateTrustZoneBundleResponse {}))
    }
}
