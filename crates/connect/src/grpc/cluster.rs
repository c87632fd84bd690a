//! `proto.connect.cluster_service.v1alpha1.ClusterService`

use cofide_api::connect::cluster_service::cluster_service_server::ClusterService;
use cofide_api::connect::cluster_service::{
    CreateClusterRequest, CreateClusterResponse, DestroyClusterRequest, DestroyClusterResponse, GetClusterRequest, GetClusterResponse,
    ListClustersRequest, ListClustersResponse, UpdateClusterRequest, UpdateClusterResponse,
};
use cofide_api::convert::cluster::Draft;
use cofide_store::ClusterFilter;
use tonic::{Request, Response, Status};

use super::{Api, context, optional, parse, required};
use crate::error::Error;

fn draft(message: Option<cofide_api::types::cluster::Cluster>) -> Result<Draft, Error> {
    Ok(Draft::try_from(&required("cluster", message)?)?)
}

#[tonic::async_trait]
impl ClusterService for Api {
    async fn create_cluster(&self, request: Request<CreateClusterRequest>) -> Result<Response<CreateClusterResponse>, Status> {
        let context = context(&request)?;
        let cluster = self.app.create_cluster(&context, draft(request.into_inner().cluster)?).await?;
        Ok(Response::new(CreateClusterResponse { cluster: Some(cluster.into()) }))
    }

    async fn destroy_cluster(&self, request: Request<DestroyClusterRequest>) -> Result<Response<DestroyClusterResponse>, Status> {
        let context = context(&request)?;
        let id = parse("cluster_id", request.into_inner().cluster_id.as_deref())?;
        self.app.destroy_cluster(&context, &id).await?;
        Ok(Response::new(DestroyClusterResponse {}))
    }

    async fn get_cluster(&self, request: Request<GetClusterRequest>) -> Result<Response<GetClusterResponse>, Status> {
        let id = parse("cluster_id", request.into_inner().cluster_id.as_deref())?;
        let cluster = self.app.cluster(&id).await?;
        Ok(Response::new(GetClusterResponse { cluster: Some(cluster.into()) }))
    }

    async fn list_clusters(&self, request: Request<ListClustersRequest>) -> Result<Response<ListClustersResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let filter = ClusterFilter {
            organization_id: optional("filter.org_id", filter.org_id.as_deref())?,
            trust_zone_id: optional("filter.trust_zone_id", filter.trust_zone_id.as_deref())?,
            name: optional("filter.name", filter.name.as_deref())?,
        };
        let clusters = self.app.clusters(&filter).await?;
        Ok(Response::new(ListClustersResponse { clusters: clusters.into_iter().map(Into::into).collect() }))
    }

    async fn update_cluster(&self, request: Request<UpdateClusterRequest>) -> Result<Response<UpdateClusterResponse>, Status> {
        let context = context(&request)?;
        let cluster = self.app.update_cluster(&context, draft(request.into_inner().cluster)?).await?;
        Ok(Response::new(UpdateClusterResponse { cluster: Some(cluster.into()) }))
    }
}
