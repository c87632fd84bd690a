//! Federated services: what an agent may say, and what the others see of it.

use cofide_api::connect::agent_service::{
    DeregisterFederatedServiceRequest, GetFederatedServiceRequest, ListFederatedServicesRequest, RegisterFederatedServiceRequest,
    UpdateFederatedServiceRequest,
};
use cofide_api::types::federated_service::{FederatedService, GatewaySpec, TlsMode};
use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied};
use tonic::Status;

use crate::support::{Client, Plane, refused};

pub(crate) fn service(name: &str, exported_to: &[&str]) -> FederatedService {
    FederatedService {
        name: name.into(),
        namespace: "demo".into(),
        workload_labels: [("app".to_owned(), name.to_owned())].into(),
        exported_trust_domains: exported_to.iter().map(|domain| (*domain).to_owned()).collect(),
        port: 8443,
        tls_mode: TlsMode::Mtls.into(),
        gateway_specs: vec![GatewaySpec {
            r#type: "istio-ingressgateway".into(),
            ip: "192.0.2.10".into(),
            port: 443,
            ..Default::default()
        }],
        ..FederatedService::default()
    }
}

pub(crate) async fn register(client: &Client, service: FederatedService) -> Result<String, Status> {
    let request = RegisterFederatedServiceRequest { service: Some(service) };
    Ok(client.agents().register_federated_service(request).await?.into_inner().service_id)
}

pub(crate) async fn update(client: &Client, service: FederatedService) -> Result<String, Status> {
    let request = UpdateFederatedServiceRequest { service: Some(service) };
    Ok(client.agents().update_federated_service(request).await?.into_inner().service_id)
}

async fn get(client: &Client, id: &str) -> Result<FederatedService, Status> {
    let request = GetFederatedServiceRequest { service_id: id.into() };
    Ok(client.agents().get_federated_service(request).await?.into_inner().service.unwrap())
}

async fn list(client: &Client) -> Vec<String> {
    let request = ListFederatedServicesRequest::default();
    let services = client.agents().list_federated_services(request).await.unwrap().into_inner().services;
    services.into_iter().map(|service| service.id).collect()
}

pub(crate) async fn deregister(client: &Client, id: &str) -> Result<String, Status> {
    let request = DeregisterFederatedServiceRequest { service_id: id.into() };
    Ok(client.agents().deregister_federated_service(request).await?.into_inner().service_id)
}

#[tokio::test]
async fn a_service_is_that_of_the_agents_own_domain_and_cluster_whatever_the_message_says() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let one = plane.joined(&a, "one").await;
    plane.joined(&a, "two").await;
    plane.joined(&b, "one").await;

    let id = register(&one.agent, service("server", &["b.test"])).await.unwrap();
    let stored = get(&one.agent, &id).await.unwrap();
    assert_eq!((stored.trust_domain.as_str(), stored.cluster_name.as_str()), ("a.test", "one"));
    let honest = FederatedService { trust_domain: "a.test".into(), cluster_name: "one".into(), ..service("other", &["b.test"]) };
    register(&one.agent, honest).await.unwrap();

    for (lie, field) in [
        (FederatedService { trust_domain: "b.test".into(), ..service("lie", &["b.test"]) }, "federated_service.trust_domain"),
        (FederatedService { cluster_name: "two".into(), ..service("lie", &["b.test"]) }, "federated_service.cluster_name"),
    ] {
        refused(register(&one.agent, lie.clone()).await, PermissionDenied, &[field]);
        refused(update(&one.agent, FederatedService { id: id.clone(), ..lie }).await, PermissionDenied, &[field]);
    }
    let liar = one.agent.clone().with("agent-id", "ag-other").with("cluster-id", "two");
    let id = register(&liar, service("honest", &["b.test"])).await.unwrap();
    assert_eq!(get(&one.agent, &id).await.unwrap().cluster_name, "one", "metadata is not believed");
}

#[tokio::test]
async fn registering_again_is_the_same_registration_and_an_id_is_one_clusters() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let (one, two) = (plane.joined(&zone, "one").await, plane.joined(&zone, "two").await);
    let mine = FederatedService { id: "uid-1".into(), ..service("server", &["b.test"]) };
    assert_eq!(register(&one.agent, mine.clone()).await.unwrap(), "uid-1", "the caller's id is honoured");
    let first = get(&one.agent, "uid-1").await.unwrap();
    assert_eq!(register(&one.agent, mine.clone()).await.unwrap(), "uid-1");
    assert_eq!(get(&one.agent, "uid-1").await.unwrap(), first, "the same again changes nothing, not even a time");
    assert_eq!(register(&one.agent, service("server", &["b.test", "c.test"])).await.unwrap(), "uid-1", "known by its hostname");
    assert_eq!(get(&one.agent, "uid-1").await.unwrap().exported_trust_domains.len(), 2);

    refused(register(&two.agent, mine.clone()).await, AlreadyExists, &["uid-1"]);
    let double = FederatedService { id: "uid-2".into(), ..mine };
    refused(register(&one.agent, double).await, AlreadyExists, &["server.demo.a.test", "uid-1"]);
    let same_name = register(&two.agent, service("server", &["b.test"])).await.expect("the same hostname in two clusters is one service");
    assert_ne!(same_name, "uid-1");
}

#[tokio::test]
async fn agents_see_and_change_their_own_services_and_users_see_all() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (one, two) = (plane.joined(&a, "one").await, plane.joined(&a, "two").await);
    let foreign = plane.joined(&b, "one").await;
    let id = register(&one.agent, service("server", &["b.test"])).await.unwrap();
    let other = register(&two.agent, service("other", &["b.test"])).await.unwrap();

    let admin = plane.admin().await;
    let mut all = list(&admin).await;
    all.sort();
    let mut expected = vec![id.clone(), other.clone()];
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(list(&one.agent).await, std::slice::from_ref(&id));
    assert!(list(&foreign.agent).await.is_empty());
    get(&admin, &id).await.unwrap();
    for stranger in [&two.agent, &foreign.agent] {
        refused(get(stranger, &id).await, NotFound, &[&id]);
        let stolen = FederatedService { id: id.clone(), ..service("server", &["c.test"]) };
        refused(update(stranger, stolen).await, PermissionDenied, &["own cluster"]);
        refused(deregister(stranger, &id).await, PermissionDenied, &["own cluster"]);
    }
    let request = RegisterFederatedServiceRequest { service: Some(service("x", &["b.test"])) };
    refused(admin.agents().register_federated_service(request).await, PermissionDenied, &["an agent"]);

    assert_eq!(deregister(&one.agent, &id).await.unwrap(), id);
    refused(deregister(&one.agent, &id).await, NotFound, &[&id]);
    refused(get(&admin, &id).await, NotFound, &[&id]);
    assert_eq!(deregister(&admin, &other).await.unwrap(), other, "a user may take away what an agent left behind");
}

#[tokio::test]
async fn each_wrong_field_is_named() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let one = plane.joined(&zone, "one").await;
    let good = || service("server", &["b.test"]);
    let gateway = |change: fn(&mut GatewaySpec)| {
        let mut service = good();
        change(&mut service.gateway_specs[0]);
        service
    };
    for (wrong, path) in [
        (FederatedService { name: "a.b".into(), ..good() }, "federated_service.name"),
        (FederatedService { name: "x".repeat(64), ..good() }, "federated_service.name"),
        (FederatedService { namespace: String::new(), ..good() }, "federated_service.namespace"),
        (FederatedService { workload_labels: Default::default(), ..good() }, "federated_service.workload_labels"),
        (FederatedService { exported_trust_domains: vec![], ..good() }, "federated_service.exported_trust_domains"),
        (service("server", &["a.test"]), "federated_service.exported_trust_domains"),
        (service("server", &["b.test", "b.test"]), "federated_service.exported_trust_domains"),
        (service("server", &["B.test"]), "federated_service.exported_trust_domains[0]"),
        (FederatedService { port: 0, ..good() }, "federated_service.port"),
        (FederatedService { port: 65536, ..good() }, "federated_service.port"),
        (FederatedService { tls_mode: 0, ..good() }, "federated_service.tls_mode"),
        (FederatedService { tls_mode: 9, ..good() }, "federated_service.tls_mode"),
        (FederatedService { spiffe_id_paths: vec!["a//b".into()], ..good() }, "federated_service.spiffe_id_paths[0]"),
        (gateway(|gateway| gateway.hostname = "gw.test".into()), "federated_service.gateway_specs[0].hostname"),
        (gateway(|gateway| gateway.ip = String::new()), "federated_service.gateway_specs[0].hostname"),
        (gateway(|gateway| gateway.ip = "1.2.3".into()), "federated_service.gateway_specs[0].ip"),
        (gateway(|gateway| gateway.port = 70000), "federated_service.gateway_specs[0].port"),
        (gateway(|gateway| gateway.r#type = "nginx".into()), "federated_service.gateway_specs[0].type"),
    ] {
        refused(register(&one.agent, wrong).await, InvalidArgument, &[path]);
    }
    refused(update(&one.agent, good()).await, InvalidArgument, &["federated_service.id"]);
    refused(update(&one.agent, FederatedService { id: "fs-none".into(), ..good() }).await, NotFound, &["fs-none"]);
    let id = register(&one.agent, good()).await.unwrap();
    let renamed = FederatedService { id, ..service("renamed", &["b.test"]) };
    refused(update(&one.agent, renamed).await, InvalidArgument, &["federated_service.name", "cannot change"]);
}

#[tokio::test]
async fn what_an_agent_registers_is_bounded() {
    let plane = Plane::start_with(|config| config.max_federated_services_per_cluster = 2).await;
    let zone = plane.zone("a").await;
    let (one, two) = (plane.joined(&zone, "one").await, plane.joined(&zone, "two").await);
    let first = register(&one.agent, service("first", &["b.test"])).await.unwrap();
    register(&one.agent, service("second", &["b.test"])).await.unwrap();
    let third = register(&one.agent, service("third", &["b.test"])).await;
    refused(third, FailedPrecondition, &["cluster one", "at most 2", "max_federated_services_per_cluster"]);
    assert_eq!(register(&one.agent, service("first", &["b.test"])).await.unwrap(), first, "what is there is registered again");
    register(&two.agent, service("third", &["b.test"])).await.expect("another cluster has a number of its own");
    deregister(&one.agent, &first).await.unwrap();
    register(&one.agent, service("third", &["b.test"])).await.unwrap();

    let many = FederatedService { gateway_specs: vec![service("x", &[]).gateway_specs.remove(0); 65], ..service("second", &["b.test"]) };
    refused(register(&one.agent, many).await, InvalidArgument, &["federated_service.gateway_specs", "65", "at most 64"]);
    let mut metadata_server = service("second", &["b.test"]);
    metadata_server.gateway_specs[0].ip = "169.254.169.254".into();
    refused(register(&one.agent, metadata_server).await, InvalidArgument, &["federated_service.gateway_specs[0].ip", "link-local"]);
}
