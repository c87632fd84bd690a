//! `proto.connect.attestation_policy_service.v1alpha1.AttestationPolicyService`

use cofide_api::connect::attestation_policy_service::attestation_policy_service_server::AttestationPolicyService;
use cofide_api::connect::attestation_policy_service::{
    AttestationPolicyKind, CreateAttestationPolicyRequest, CreateAttestationPolicyResponse, DestroyAttestationPolicyRequest,
    DestroyAttestationPolicyResponse, GetAttestationPolicyRequest, GetAttestationPolicyResponse, ListAttestationPoliciesRequest,
    ListAttestationPoliciesResponse, UpdateAttestationPolicyRequest, UpdateAttestationPolicyResponse,
};
use cofide_api::convert::attestation_policy::Draft;
use cofide_store::AttestationPolicyFilter;
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse, required, set};
use crate::error::Error;

fn draft(message: Option<cofide_api::types::attestation_policy::AttestationPolicy>) -> Result<Draft, Error> {
    Ok(Draft::try_from(&required("attestation_policy", message)?)?)
}

/// As [`cofide_core::PolicyKind::as_str`] calls it.
fn kind(value: Option<i32>) -> Result<Option<&'static str>, Error> {
    match value.map(AttestationPolicyKind::try_from) {
        None | Some(Ok(AttestationPolicyKind::Unspecified)) => Ok(None),
        Some(Ok(AttestationPolicyKind::Kubernetes)) => Ok(Some("kubernetes")),
        Some(Ok(AttestationPolicyKind::Static)) => Ok(Some("static")),
        Some(Ok(AttestationPolicyKind::TpmNode)) => Ok(Some("tpm-node")),
        Some(Err(error)) => Err(Error::invalid("filter.kind", error)),
    }
}

#[tonic::async_trait]
impl AttestationPolicyService for Api {
    async fn create_attestation_policy(
        &self,
        request: Request<CreateAttestationPolicyRequest>,
    ) -> Result<Response<CreateAttestationPolicyResponse>, Status> {
        let context = context(&request)?;
        let policy = self.app.create_attestation_policy(&context, draft(request.into_inner().policy)?).await?;
        Ok(Response::new(CreateAttestationPolicyResponse { policy: Some(policy.into()) }))
    }

    async fn destroy_attestation_policy(
        &self,
        request: Request<DestroyAttestationPolicyRequest>,
    ) -> Result<Response<DestroyAttestationPolicyResponse>, Status> {
        let context = context(&request)?;
        let id = parse("policy_id", request.into_inner().policy_id.as_deref())?;
        self.app.destroy_attestation_policy(&context, &id).await?;
        Ok(Response::new(DestroyAttestationPolicyResponse {}))
    }

    async fn get_attestation_policy(
        &self,
        request: Request<GetAttestationPolicyRequest>,
    ) -> Result<Response<GetAttestationPolicyResponse>, Status> {
        let id = parse("policy_id", request.into_inner().policy_id.as_deref())?;
        let policy = self.app.attestation_policy(&id).await?;
        Ok(Response::new(GetAttestationPolicyResponse { policy: Some(policy.into()) }))
    }

    async fn list_attestation_policies(
        &self,
        request: Request<ListAttestationPoliciesRequest>,
    ) -> Result<Response<ListAttestationPoliciesResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let ek_hash = filter.tpm_node.and_then(|node| set(node.ek_hash));
        let filter = AttestationPolicyFilter {
            organization_id: optional("filter.org_id", filter.org_id.as_deref())?,
            name: optional("filter.name", filter.name.as_deref())?,
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            kind: kind(filter.kind)?,
            ek_hash,
        };
        let policies = self.app.attestation_policies(&filter).await?;
        Ok(Response::new(ListAttestationPoliciesResponse { policies: policies.into_iter().map(Into::into).collect() }))
    }

    async fn update_attestation_policy(
        &self,
        request: Request<UpdateAttestationPolicyRequest>,
    ) -> Result<Response<UpdateAttestationPolicyResponse>, Status> {
        let context = context(&request)?;
        let policy = self.app.update_attestation_policy(&context, draft(request.into_inner().policy)?).await?;
        Ok(Response::new(UpdateAttestationPolicyResponse { policy: Some(policy.into()) }))
    }
}
