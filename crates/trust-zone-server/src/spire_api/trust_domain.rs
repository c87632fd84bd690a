//! `spire.api.server.trustdomain.v1.TrustDomain`

use cofide_api::spire::server::trustdomain as api;
use cofide_api::spire::server::trustdomain::trust_domain_server::TrustDomain as TrustDomainApi;
use cofide_api::spire::types;
use cofide_api::spire::types::federation_relationship::BundleEndpointProfile;
use cofide_bundle_endpoint::Profile;
use cofide_core::{Bundle, SpiffeId};
use tonic::{Request, Response, Status};

use super::{Failure, paging, parts, trust_domain_argument};
use crate::datastore::{Content, Datastore, FederationRelationship, parse_bundle_endpoint_url};
use crate::federation::Federation;

#[derive(Debug)]
pub struct Service {
    pub(super) datastore: Datastore,
    pub(super) federation: Federation,
}

#[tonic::async_trait]
impl TrustDomainApi for Service {
    async fn list_federation_relationships(
        &self,
        request: Request<api::ListFederationRelationshipsRequest>,
    ) -> Result<Response<api::ListFederationRelationshipsResponse>, Status> {
        let request = request.into_inner();
        let content = self.datastore.read();
        let relationships = content.relationships().map(|relationship| (relationship.trust_domain.to_string(), relationship)).collect();
        let (page, next_page_token) = paging::page(relationships, request.page_size, &request.page_token);
        let message = |relationship: &std::sync::Arc<FederationRelationship>| masked(&content, relationship, request.output_mask.as_ref());
        let federation_relationships = page.into_iter().map(message).collect();
        Ok(Response::new(api::ListFederationRelationshipsResponse { federation_relationships, next_page_token }))
    }

    async fn get_federation_relationship(
        &self,
        request: Request<api::GetFederationRelationshipRequest>,
    ) -> Result<Response<types::FederationRelationship>, Status> {
        let request = request.into_inner();
        let trust_domain = trust_domain_argument(&request.trust_domain).map_err(|reason| unparsable(&reason))?;
        let content = self.datastore.read();
        let relationship =
            content.relationship(&trust_domain).ok_or_else(|| Status::not_found("federation relationship does not exist"))?;
        Ok(Response::new(masked(&content, relationship, request.output_mask.as_ref())))
    }

    async fn batch_create_federation_relationship(
        &self,
        request: Request<api::BatchCreateFederationRelationshipRequest>,
    ) -> Result<Response<api::BatchCreateFederationRelationshipResponse>, Status> {
        let request = request.into_inner();
        let create = |content: &mut Content| {
            let create = |message: types::FederationRelationship| {
                let (status, federation_relationship) = parts(create(content, message, request.output_mask.as_ref()));
                api::batch_create_federation_relationship_response::Result { status, federation_relationship }
            };
            request.federation_relationships.into_iter().map(create).collect()
        };
        let results = self.datastore.update(create).await?;
        Ok(Response::new(api::BatchCreateFederationRelationshipResponse { results }))
    }

    async fn batch_update_federation_relationship(
        &self,
        request: Request<api::BatchUpdateFederationRelationshipRequest>,
    ) -> Result<Response<api::BatchUpdateFederationRelationshipResponse>, Status> {
        let request = request.into_inner();
        let mask = request.input_mask.unwrap_or(ALL);
        let update = |content: &mut Content| {
            let update = |message: types::FederationRelationship| {
                let (status, federation_relationship) = parts(update(content, message, &mask, request.output_mask.as_ref()));
                api::batch_update_federation_relationship_response::Result { status, federation_relationship }
            };
            request.federation_relationships.into_iter().map(update).collect()
        };
        let results = self.datastore.update(update).await?;
        Ok(Response::new(api::BatchUpdateFederationRelationshipResponse { results }))
    }

    async fn batch_delete_federation_relationship(
        &self,
        request: Request<api::BatchDeleteFederationRelationshipRequest>,
    ) -> Result<Response<api::BatchDeleteFederationRelationshipResponse>, Status> {
        let request = request.into_inner();
        let delete = |content: &mut Content| {
            let delete = |trust_domain: String| {
                let deleted = delete(content, &trust_domain);
                api::batch_delete_federation_relationship_response::Result { status: parts(deleted).0, trust_domain }
            };
            request.trust_domains.into_iter().map(delete).collect()
        };
        let results = self.datastore.update(delete).await?;
        Ok(Response::new(api::BatchDeleteFederationRelationshipResponse { results }))
    }

    async fn refresh_bundle(&self, request: Request<api::RefreshBundleRequest>) -> Result<Response<()>, Status> {
        let trust_domain = trust_domain_argument(&request.get_ref().trust_domain).map_err(|reason| unparsable(&reason))?;
        let Some(relationship) = self.datastore.read().relationship(&trust_domain).cloned() else {
            return Err(Status::not_found(format!("no relationship with trust domain \"{trust_domain}\"")));
        };
        match self.federation.refresh(&relationship).await {
            Ok(()) => Ok(Response::new(())),
            Err(error) => Err(Status::internal(format!("failed to refresh bundle: {error}"))),
        }
    }
}

const ALL: types::FederationRelationshipMask =
    types::FederationRelationshipMask { bundle_endpoint_url: true, bundle_endpoint_profile: true, trust_domain_bundle: true };

fn unparsable(reason: &str) -> Status {
    Status::invalid_argument(format!("failed to parse trust domain: {reason}"))
}

fn create(
    content: &mut Content,
    message: types::FederationRelationship,
    mask: Option<&types::FederationRelationshipMask>,
) -> Result<types::FederationRelationship, Failure> {
    let (relationship, bundle) = from_proto(message)?;
    if relationship.trust_domain == *content.trust_domain() {
        return Err(Failure::invalid("unable to create federation relationship for server trust domain"));
    }
    let created =
        content.create_relationship(relationship).map_err(|error| Failure::internal("failed to create federation relationship", &error))?;
    if let Some(bundle) = bundle {
        content.set_bundle(bundle);
    }
    tracing::info!(trust_domain = %created.trust_domain, url = %created.bundle_endpoint_url, "created a federation relationship");
    Ok(masked(content, &created, mask))
}

fn update(
    content: &mut Content,
    message: types::FederationRelationship,
    input_mask: &types::FederationRelationshipMask,
    output_mask: Option<&types::FederationRelationshipMask>,
) -> Result<types::FederationRelationship, Failure> {
    let trust_domain = trust_domain_argument(&message.trust_domain).map_err(unconvertible)?;
    let held = content.relationship(&trust_domain).map(|held| to_proto(content, held));
    // What the mask leaves out stays, so the whole can be read by the one rule for whole relationships.
    let (relationship, bundle) = from_proto(match held {
        Some(held) => overlay(held, message, input_mask),
        None => message,
    })?;
    let updated = content
        .update_relationship(&trust_domain, |held| *held = relationship)
        .map_err(|error| Failure::internal("failed to update federation relationship", &error))?;
    if let Some(bundle) = bundle.filter(|_| input_mask.trust_domain_bundle) {
        content.set_bundle(bundle);
    }
    tracing::info!(trust_domain = %updated.trust_domain, url = %updated.bundle_endpoint_url, "updated a federation relationship");
    Ok(masked(content, &updated, output_mask))
}

fn delete(content: &mut Content, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Err(Failure::invalid("missing trust domain"));
    }
    let trust_domain = trust_domain_argument(text).map_err(|reason| Failure::invalid(format!("failed to parse trust domain: {reason}")))?;
    content.delete_relationship(&trust_domain).map_err(|error| Failure::of("failed to delete federation relationship", &error))?;
    tracing::info!(%trust_domain, "deleted a federation relationship");
    Ok(())
}

/// The masked fields of `from`, the others of `base`. The trust domain is that of `base`.
fn overlay(
    base: types::FederationRelationship,
    from: types::FederationRelationship,
    mask: &types::FederationRelationshipMask,
) -> types::FederationRelationship {
    types::FederationRelationship {
        trust_domain: base.trust_domain,
        bundle_endpoint_url: if mask.bundle_endpoint_url { from.bundle_endpoint_url } else { base.bundle_endpoint_url },
        bundle_endpoint_profile: if mask.bundle_endpoint_profile { from.bundle_endpoint_profile } else { base.bundle_endpoint_profile },
        trust_domain_bundle: if mask.trust_domain_bundle { from.trust_domain_bundle } else { base.trust_domain_bundle },
    }
}

fn masked(
    content: &Content,
    relationship: &FederationRelationship,
    mask: Option<&types::FederationRelationshipMask>,
) -> types::FederationRelationship {
    let message = to_proto(content, relationship);
    let reduced = types::FederationRelationship { trust_domain: message.trust_domain.clone(), ..types::FederationRelationship::default() };
    overlay(reduced, message, mask.unwrap_or(&ALL))
}

fn to_proto(content: &Content, relationship: &FederationRelationship) -> types::FederationRelationship {
    types::FederationRelationship {
        trust_domain: relationship.trust_domain.to_string(),
        bundle_endpoint_url: relationship.bundle_endpoint_url.to_string(),
        bundle_endpoint_profile: Some(match &relationship.profile {
            Profile::HttpsWeb => BundleEndpointProfile::HttpsWeb(types::HttpsWebProfile {}),
            Profile::HttpsSpiffe { endpoint_spiffe_id } => {
                BundleEndpointProfile::HttpsSpiffe(types::HttpsspiffeProfile { endpoint_spiffe_id: endpoint_spiffe_id.to_string() })
            }
        }),
        trust_domain_bundle: content.bundle(&relationship.trust_domain).map(|bundle| bundle.as_ref().into()),
    }
}

fn unconvertible(reason: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("failed to convert federation relationship: {reason}"))
}

fn from_proto(message: types::FederationRelationship) -> Result<(FederationRelationship, Option<Bundle>), Failure> {
    let trust_domain = trust_domain_argument(&message.trust_domain).map_err(unconvertible)?;
    let profile = match message.bundle_endpoint_profile {
        Some(BundleEndpointProfile::HttpsWeb(_)) => Profile::HttpsWeb,
        Some(BundleEndpointProfile::HttpsSpiffe(profile)) => {
            let endpoint_spiffe_id = SpiffeId::new(&profile.endpoint_spiffe_id)
                .map_err(|error| unconvertible(format!("failed to parse endpoint SPIFFE ID {:?}: {error}", profile.endpoint_spiffe_id)))?;
            Profile::HttpsSpiffe { endpoint_spiffe_id }
        }
        None => return Err(unconvertible("bundle_endpoint_profile must be https_web or https_spiffe")),
    };
    let bundle = match message.trust_domain_bundle {
        Some(bundle) => {
            let bundle = Bundle::try_from(bundle).map_err(|error| unconvertible(format!("failed to parse bundle: {error}")))?;
            if bundle.trust_domain != trust_domain {
                let found = &bundle.trust_domain;
                let reason = format!(
                    "trust domain bundle (\"{found}\") must match the trust domain of the federation relationship (\"{trust_domain}\")"
                );
                return Err(unconvertible(reason));
            }
            Some(bundle)
        }
        None => None,
    };
    let bundle_endpoint_url = parse_bundle_endpoint_url(&message.bundle_endpoint_url).map_err(unconvertible)?;
    Ok((FederationRelationship { trust_domain, bundle_endpoint_url, profile }, bundle))
}
