//! `proto.connect.explain_service.v1alpha1.ExplainService`

use cofide_api::connect::explain_service::explain_service_server::ExplainService;
use cofide_api::connect::explain_service::{ExplainRequest, ExplainResponse};
use tonic::{Request, Response, Status};

use super::{Api, optional, parse};

#[tonic::async_trait]
impl ExplainService for Api {
    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let ExplainRequest { trust_zone_id, cluster_id, hostname } = request.into_inner();
        let zone = parse("trust_zone_id", Some(&trust_zone_id))?;
        let cluster = optional("cluster_id", cluster_id.as_deref())?;
        let hostname = parse("hostname", Some(&hostname))?;
        let findings = self.app.explain(&zone, cluster.as_ref(), &hostname).await?;
        Ok(Response::new(ExplainResponse { findings: findings.iter().map(Into::into).collect() }))
    }
}
