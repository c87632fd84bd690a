//! A Connect that knows nothing but services.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cofide_api::connect::agent_service as proto;
use cofide_api::connect::agent_service::agent_service_server::{AgentService, AgentServiceServer};
use cofide_api::types::federated_service::FederatedService;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// The side of Connect on which agents register services: a list, and whether it answers.
#[derive(Clone, Default)]
pub(crate) struct Register {
    pub(crate) services: Arc<Mutex<BTreeMap<String, FederatedService>>>,
    pub(crate) refusal: Arc<Mutex<Option<Status>>>,
    /// It takes what it is told and never answers.
    pub(crate) silent: Arc<AtomicBool>,
    /// What was asked of it since somebody looked: the call, and the name of the service.
    calls: Arc<Mutex<Vec<String>>>,
}

impl Register {
    pub(crate) async fn serve(&self, shutdown: CancellationToken) -> Channel {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tonic::transport::Server::builder().add_service(AgentServiceServer::new(self.clone()));
        tokio::spawn(serving.serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.cancelled_owned()));
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }

    /// What was asked since this was asked the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn called(&self, call: &str, name: &str) {
        self.calls.lock().unwrap().push(format!("{call} {name}").trim_end().to_owned());
    }

    /// The names of the services in it.
    pub(crate) fn names(&self) -> Vec<String> {
        self.services.lock().unwrap().values().map(|service| service.name.clone()).collect()
    }

    fn answer(&self) -> Result<(), Status> {
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn put(&self, call: &str, service: Option<FederatedService>) -> Result<FederatedService, Status> {
        let service = service.unwrap();
        self.called(call, &service.name);
        self.answer()?;
        self.services.lock().unwrap().insert(service.id.clone(), service.clone());
        Ok(service)
    }
}

#[async_trait]
impl AgentService for Register {
    async fn list_federated_services(
        &self,
        _: Request<proto::ListFederatedServicesRequest>,
    ) -> Result<Response<proto::ListFederatedServicesResponse>, Status> {
        self.called("list", "");
        self.answer()?;
        let services = self.services.lock().unwrap().values().cloned().collect();
        Ok(Response::new(proto::ListFederatedServicesResponse { services }))
    }

    async fn register_federated_service(
        &self,
        request: Request<proto::RegisterFederatedServiceRequest>,
    ) -> Result<Response<proto::RegisterFederatedServiceResponse>, Status> {
        let taken = self.put("register", request.into_inner().service).map(|_| Response::new(Default::default()));
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        taken
    }

    async fn update_federated_service(
        &self,
        request: Request<proto::UpdateFederatedServiceRequest>,
    ) -> Result<Response<proto::UpdateFederatedServiceResponse>, Status> {
        self.put("update", request.into_inner().service).map(|_| Response::new(Default::default()))
    }

    async fn deregister_federated_service(
        &self,
        request: Request<proto::DeregisterFederatedServiceRequest>,
    ) -> Result<Response<proto::DeregisterFederatedServiceResponse>, Status> {
        let id = request.into_inner().service_id;
        let name = self.services.lock().unwrap().get(&id).map(|service| service.name.clone()).unwrap_or_default();
        self.called("withdraw", &name);
        self.answer()?;
        self.services.lock().unwrap().remove(&id);
        Ok(Response::new(Default::default()))
    }

    async fn get_federated_service(
        &self,
        _: Request<proto::GetFederatedServiceRequest>,
    ) -> Result<Response<proto::GetFederatedServiceResponse>, Status> {
        Err(Status::unimplemented("no agent asks this"))
    }

    async fn create_agent_join_token(
        &self,
        _: Request<proto::CreateAgentJoinTokenRequest>,
    ) -> Result<Response<proto::CreateAgentJoinTokenResponse>, Status> {
        Err(Status::unimplemented("no agent asks this"))
    }

    async fn update_agent_status(
        &self,
        _: Request<proto::UpdateAgentStatusRequest>,
    ) -> Result<Response<proto::UpdateAgentStatusResponse>, Status> {
        Ok(Response::new(Default::default()))
    }
}
