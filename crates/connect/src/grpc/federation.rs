//! `proto.connect.federation_service.v1alpha1.FederationService`

use cofide_api::connect::federation_service::federation_service_server::FederationService;
use cofide_api::connect::federation_service::{
    CreateFederationRequest, CreateFederationResponse, DestroyFederationRequest, DestroyFederationResponse, GetFederationRequest,
    GetFederationResponse, ListFederationsRequest, ListFederationsResponse,
};
use cofide_api::convert::federation::Draft;
use cofide_store::FederationFilter;
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse, required};
use crate::error::Error;

#[tonic::async_trait]
impl FederationService for Api {
    async fn create_federation(&self, request: Request<CreateFederationRequest>) -> Result<Response<CreateFederationResponse>, Status> {
        let context = context(&request)?;
        let draft = Draft::try_from(&required("federation", request.into_inner().federation)?).map_err(Error::from)?;
        let federation = self.app.create_federation(&context, draft).await?;
        Ok(Response::new(CreateFederationResponse { federation: Some(federation.into()) }))
    }

    async fn destroy_federation(&self, request: Request<DestroyFederationRequest>) -> Result<Response<DestroyFederationResponse>, Status> {
        let context = context(&request)?;
        let id = parse("federation_id", request.into_inner().federation_id.as_deref())?;
        self.app.destroy_federation(&context, &id).await?;
        Ok(Response::new(DestroyFederationResponse {}))
    }

    async fn list_federations(&self, request: Request<ListFederationsRequest>) -> Result<Response<ListFederationsResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = FederationFilter {
            organization_id: optional("filter.org_id", filter.org_id.as_deref())?,
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            remote_trust_zone_id: optional("filter.remote_trust_zone_id", filter.remote_trust_zone_id.as_deref())?,
        };
        let federations = self.app.federations(&filter).await?;
        Ok(Response::new(ListFederationsResponse { federations: federations.into_iter().map(Into::into).collect() }))
    }

    async fn get_federation(&self, request: Request<GetFederationRequest>) -> Result<Response<GetFederationResponse>, Status> {
        let id = parse("federation_id", Some(&request.into_inner().federation_id))?;
        let federation = self.app.federation(&id).await?;
        Ok(Response::new(GetFederationResponse { federation: Some(federation.into()) }))
    }
}
