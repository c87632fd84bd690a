//! `proto.connect.organization_service.v1alpha1.OrganizationService`

use cofide_api::connect::organization_service::organization_service_server::OrganizationService;
use cofide_api::connect::organization_service::{
    GetOrganizationRequest, GetOrganizationResponse, ListOrganizationsRequest, ListOrganizationsResponse,
};
use cofide_store::OrganizationFilter;
use tonic::{Request, Response, Status};

use super::{Api, optional, parse};

#[tonic::async_trait]
impl OrganizationService for Api {
    async fn get_organization(&self, request: Request<GetOrganizationRequest>) -> Result<Response<GetOrganizationResponse>, Status> {
        let id = parse("org_id", request.into_inner().org_id.as_deref())?;
        let organization = self.app.organization(&id).await?;
        Ok(Response::new(GetOrganizationResponse { organization: Some(organization.into()) }))
    }

    async fn list_organizations(&self, request: Request<ListOrganizationsRequest>) -> Result<Response<ListOrganizationsResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = OrganizationFilter { name: optional("filter.name", filter.name.as_deref())? };
        let organizations = self.app.organizations(&filter).await?;
        Ok(Response::new(ListOrganizationsResponse { organizations: organizations.into_iter().map(Into::into).collect() }))
    }
}
