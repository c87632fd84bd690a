//! `proto.connect.ap_binding_service.v1alpha1.APBindingService`

use cofide_api::connect::ap_binding_service::ap_binding_service_server::ApBindingService;
use cofide_api::connect::ap_binding_service::{
    CreateApBindingRequest, CreateApBindingResponse, DestroyApBindingRequest, DestroyApBindingResponse, GetApBindingRequest,
    GetApBindingResponse, ListApBindingsRequest, ListApBindingsResponse, UpdateApBindingRequest, UpdateApBindingResponse,
};
use cofide_api::convert::attestation_policy_binding::Draft;
use cofide_api::types::ap_binding::{ApBinding, ApBindingFederation};
use cofide_core::AttestationPolicyBinding;
use cofide_store::AttestationPolicyBindingFilter;
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse, required};
use crate::error::Error;

fn draft(message: Option<ApBinding>) -> Result<Draft, Error> {
    Ok(Draft::try_from(&required("ap_binding", message)?)?)
}

impl Api {
    /// The binding, with the zones that its patterns stand for at this moment.
    fn binding(&self, binding: &AttestationPolicyBinding) -> ApBinding {
        let partners = self.app.federates_with(binding).into_iter();
        let federations = partners.map(|id| ApBindingFederation { trust_zone_id: Some(id.into()) }).collect();
        ApBinding { federations, ..binding.into() }
    }
}

#[tonic::async_trait]
impl ApBindingService for Api {
    async fn create_ap_binding(&self, request: Request<CreateApBindingRequest>) -> Result<Response<CreateApBindingResponse>, Status> {
        let context = context(&request)?;
        let binding = self.app.create_attestation_policy_binding(&context, draft(request.into_inner().binding)?).await?;
        Ok(Response::new(CreateApBindingResponse { binding: Some(self.binding(&binding)) }))
    }

    async fn destroy_ap_binding(&self, request: Request<DestroyApBindingRequest>) -> Result<Response<DestroyApBindingResponse>, Status> {
        let context = context(&request)?;
        let id = parse("binding_id", request.into_inner().binding_id.as_deref())?;
        self.app.destroy_attestation_policy_binding(&context, &id).await?;
        Ok(Response::new(DestroyApBindingResponse {}))
    }

    async fn get_ap_binding(&self, request: Request<GetApBindingRequest>) -> Result<Response<GetApBindingResponse>, Status> {
        let id = parse("binding_id", request.into_inner().binding_id.as_deref())?;
        let binding = self.app.attestation_policy_binding(&id).await?;
        Ok(Response::new(GetApBindingResponse { binding: Some(self.binding(&binding)) }))
    }

    async fn list_ap_bindings(&self, request: Request<ListApBindingsRequest>) -> Result<Response<ListApBindingsResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = AttestationPolicyBindingFilter {
            organization_id: optional("filter.org_id", filter.org_id.as_deref())?,
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            policy_id: optional("filter.policy_id", filter.policy_id.as_deref())?,
        };
        let bindings = self.app.attestation_policy_bindings(&filter).await?;
        Ok(Response::new(ListApBindingsResponse { bindings: bindings.iter().map(|binding| self.binding(binding)).collect() }))
    }

    async fn update_ap_binding(&self, request: Request<UpdateApBindingRequest>) -> Result<Response<UpdateApBindingResponse>, Status> {
        let context = context(&request)?;
        let binding = self.app.update_attestation_policy_binding(&context, draft(request.into_inner().binding)?).await?;
        Ok(Response::new(UpdateApBindingResponse { binding: Some(self.binding(&binding)) }))
    }
}
