//! `proto.connect.bundle_package_service.v1alpha1.BundlePackageService`

use std::time::Duration;

use cofide_api::connect::bundle_package_service::bundle_package_service_server::BundlePackageService;
use cofide_api::connect::bundle_package_service::{
    ExportBundlePackageRequest, ExportBundlePackageResponse, ImportBundlePackageRequest, ImportBundlePackageResponse,
};
use cofide_api::convert::timestamp;
use cofide_svid::bundle::package::SignerKey;
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse, set};
use crate::app::bundle_package::Import;
use crate::error::Error;

#[tonic::async_trait]
impl BundlePackageService for Api {
    async fn export_bundle_package(
        &self,
        request: Request<ExportBundlePackageRequest>,
    ) -> Result<Response<ExportBundlePackageResponse>, Status> {
        let context = context(&request)?;
        let ExportBundlePackageRequest { trust_zone_id, ttl } = request.into_inner();
        let id = parse("trust_zone_id", Some(&trust_zone_id))?;
        let ttl = ttl.map(Duration::try_from).transpose().map_err(|_| Error::invalid("ttl", "must not be negative"))?;
        let exported = self.app.export_bundle_package(&context, &id, ttl).await?;
        Ok(Response::new(ExportBundlePackageResponse {
            package: exported.package,
            signer_public_key: exported.signer.to_pem(),
            sequence_number: exported.sequence,
            expires_at: Some(timestamp(exported.expires_at)),
        }))
    }

    async fn import_bundle_package(
        &self,
        request: Request<ImportBundlePackageRequest>,
    ) -> Result<Response<ImportBundlePackageResponse>, Status> {
        let context = context(&request)?;
        let ImportBundlePackageRequest { package, signer_public_key, name } = request.into_inner();
        let signer = set(signer_public_key).map(|key| SignerKey::from_pem(&key)).transpose();
        let signer = signer.map_err(|error| Error::invalid("signer_public_key", error))?;
        let import = Import { package, signer, name: optional("name", name.as_deref())? };
        let imported = self.app.import_bundle_package(&context, import).await?;
        Ok(Response::new(ImportBundlePackageResponse {
            trust_zone: Some(imported.zone.into()),
            sequence_number: imported.sequence,
            expires_at: Some(timestamp(imported.expires_at)),
        }))
    }
}
