//! `spire.api.server.bundle.v1.Bundle`

use cofide_api::spire::server::bundle as api;
use cofide_api::spire::server::bundle::batch_delete_federated_bundle_request::Mode;
use cofide_api::spire::server::bundle::bundle_server::Bundle as BundleApi;
use cofide_api::spire::types;
use cofide_core::{Bundle, TrustDomain};
use tonic::{Request, Response, Status};

use super::{Failure, paging, parts, trust_domain_argument};
use crate::authority::Authority;
use crate::datastore::{Content, Datastore, DeleteMode};

#[derive(Debug)]
pub struct Service {
    pub(super) datastore: Datastore,
    pub(super) authority: Authority,
}

#[tonic::async_trait]
impl BundleApi for Service {
    async fn count_bundles(&self, _: Request<api::CountBundlesRequest>) -> Result<Response<api::CountBundlesResponse>, Status> {
        // The server's own counts too.
        let count = self.datastore.read().bundles().count() + 1;
        Ok(Response::new(api::CountBundlesResponse { count: i32::try_from(count).unwrap_or(i32::MAX) }))
    }

    async fn get_bundle(&self, request: Request<api::GetBundleRequest>) -> Result<Response<types::Bundle>, Status> {
        Ok(Response::new(masked(&self.authority.read().bundle, request.into_inner().output_mask.as_ref())))
    }

    async fn append_bundle(&self, _: Request<api::AppendBundleRequest>) -> Result<Response<types::Bundle>, Status> {
        Err(Status::unimplemented("the bundle of this server holds its own authorities and no others"))
    }

    async fn publish_jwt_authority(
        &self,
        _: Request<api::PublishJwtAuthorityRequest>,
    ) -> Result<Response<api::PublishJwtAuthorityResponse>, Status> {
        Err(Status::unimplemented("there are no downstream servers here whose keys could be published"))
    }

    async fn list_federated_bundles(
        &self,
        request: Request<api::ListFederatedBundlesRequest>,
    ) -> Result<Response<api::ListFederatedBundlesResponse>, Status> {
        let request = request.into_inner();
        let content = self.datastore.read();
        let bundles = content.bundles().map(|bundle| (bundle.trust_domain.to_string(), bundle)).collect();
        let (page, next_page_token) = paging::page(bundles, request.page_size, &request.page_token);
        let bundles = page.into_iter().map(|bundle| masked(bundle, request.output_mask.as_ref())).collect();
        Ok(Response::new(api::ListFederatedBundlesResponse { bundles, next_page_token }))
    }

    async fn get_federated_bundle(&self, request: Request<api::GetFederatedBundleRequest>) -> Result<Response<types::Bundle>, Status> {
        let request = request.into_inner();
        let content = self.datastore.read();
        let trust_domain = foreign(content.trust_domain(), &request.trust_domain, "getting a federated bundle for")?;
        let bundle = content.bundle(&trust_domain).ok_or_else(|| Status::not_found("bundle not found"))?;
        Ok(Response::new(masked(bundle, request.output_mask.as_ref())))
    }

    async fn batch_create_federated_bundle(
        &self,
        request: Request<api::BatchCreateFederatedBundleRequest>,
    ) -> Result<Response<api::BatchCreateFederatedBundleResponse>, Status> {
        let request = request.into_inner();
        let create = |content: &mut Content| {
            let create = |message: types::Bundle| {
                let created = from_proto(content.trust_domain(), message, "creating a federated bundle for")
                    .and_then(|bundle| content.create_bundle(bundle).map_err(|error| Failure::of("unable to create bundle", &error)));
                let (status, bundle) = parts(created.map(|bundle| masked(&bundle, request.output_mask.as_ref())));
                api::batch_create_federated_bundle_response::Result { status, bundle }
            };
            request.bundle.into_iter().map(create).collect()
        };
        let results = self.datastore.update(create).await?;
        Ok(Response::new(api::BatchCreateFederatedBundleResponse { results }))
    }

    async fn batch_update_federated_bundle(
        &self,
        request: Request<api::BatchUpdateFederatedBundleRequest>,
    ) -> Result<Response<api::BatchUpdateFederatedBundleResponse>, Status> {
        let request = request.into_inner();
        let mask = request.input_mask.unwrap_or(ALL);
        let update = |content: &mut Content| {
            let update = |message: types::Bundle| {
                let updated = from_proto(content.trust_domain(), message, "updating a federated bundle for").and_then(|bundle| {
                    let trust_domain = bundle.trust_domain.clone();
                    let change = |held: &mut Bundle| overlay(held, bundle, &mask);
                    content.update_bundle(&trust_domain, change).map_err(|error| Failure::of("failed to update bundle", &error))
                });
                let (status, bundle) = parts(updated.map(|bundle| masked(&bundle, request.output_mask.as_ref())));
                api::batch_update_federated_bundle_response::Result { status, bundle }
            };
            request.bundle.into_iter().map(update).collect()
        };
        let results = self.datastore.update(update).await?;
        Ok(Response::new(api::BatchUpdateFederatedBundleResponse { results }))
    }

    async fn batch_set_federated_bundle(
        &self,
        request: Request<api::BatchSetFederatedBundleRequest>,
    ) -> Result<Response<api::BatchSetFederatedBundleResponse>, Status> {
        let request = request.into_inner();
        let set = |content: &mut Content| {
            let set = |message: types::Bundle| {
                let set =
                    from_proto(content.trust_domain(), message, "setting a federated bundle for").map(|bundle| content.set_bundle(bundle));
                let (status, bundle) = parts(set.map(|bundle| masked(&bundle, request.output_mask.as_ref())));
                api::batch_set_federated_bundle_response::Result { status, bundle }
            };
            request.bundle.into_iter().map(set).collect()
        };
        let results = self.datastore.update(set).await?;
        Ok(Response::new(api::BatchSetFederatedBundleResponse { results }))
    }

    async fn batch_delete_federated_bundle(
        &self,
        request: Request<api::BatchDeleteFederatedBundleRequest>,
    ) -> Result<Response<api::BatchDeleteFederatedBundleResponse>, Status> {
        let request = request.into_inner();
        let mode = match Mode::try_from(request.mode) {
            Ok(Mode::Restrict) => DeleteMode::Restrict,
            Ok(Mode::Delete) => DeleteMode::Delete,
            Ok(Mode::Dissociate) => DeleteMode::Dissociate,
            Err(_) => {
                return Err(Status::invalid_argument(format!("failed to parse deletion mode: unhandled delete mode {}", request.mode)));
            }
        };
        let delete = |content: &mut Content| {
            let delete = |trust_domain: String| {
                let deleted = foreign(content.trust_domain(), &trust_domain, "removing the bundle for").and_then(|domain| {
                    content.delete_bundle(&domain, mode).map_err(|error| Failure::of("failed to delete federated bundle", &error))
                });
                api::batch_delete_federated_bundle_response::Result { status: parts(deleted).0, trust_domain }
            };
            request.trust_domains.into_iter().map(delete).collect()
        };
        let results = self.datastore.update(delete).await?;
        Ok(Response::new(api::BatchDeleteFederatedBundleResponse { results }))
    }
}

const ALL: types::BundleMask =
    types::BundleMask { x509_authorities: true, jwt_authorities: true, refresh_hint: true, sequence_number: true };

/// The bundle's message, reduced to the masked fields and its trust domain.
fn masked(bundle: &Bundle, mask: Option<&types::BundleMask>) -> types::Bundle {
    let Some(mask) = mask else { return bundle.into() };
    let mut reduced = Bundle::empty(bundle.trust_domain.clone());
    overlay(&mut reduced, bundle.clone(), mask);
    (&reduced).into()
}

/// Puts the masked fields of `from` into `bundle`.
fn overlay(bundle: &mut Bundle, from: Bundle, mask: &types::BundleMask) {
    if mask.x509_authorities {
        bundle.x509_authorities = from.x509_authorities;
    }
    if mask.jwt_authorities {
        bundle.jwt_authorities = from.jwt_authorities;
    }
    if mask.refresh_hint {
        bundle.refresh_hint = from.refresh_hint;
    }
    if mask.sequence_number {
        bundle.sequence_number = from.sequence_number;
    }
}

fn from_proto(own: &TrustDomain, mut message: types::Bundle, attempt: &str) -> Result<Bundle, Failure> {
    message.trust_domain = foreign(own, &message.trust_domain, attempt)?.to_string();
    Bundle::try_from(message).map_err(|error| Failure::invalid(format!("failed to convert bundle: {error}")))
}

/// The server's own bundle is not for others to write, and is read elsewhere.
fn foreign(own: &TrustDomain, text: &str, attempt: &str) -> Result<TrustDomain, Failure> {
    let trust_domain =
        trust_domain_argument(text).map_err(|reason| Failure::invalid(format!("trust domain argument is not valid: {reason}")))?;
    match trust_domain == *own {
        true => Err(Failure::invalid(format!("{attempt} the server's own trust domain is not allowed"))),
        false => Ok(trust_domain),
    }
}
