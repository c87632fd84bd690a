//! A service of which there is a status.

use cofide_core::Gateway;
use cofide_k8s_api::{FederatedServiceObject, GatewaySpec};

use crate::export::{Export, export};
use crate::own_cluster::testing::own_cluster;
use crate::view::{Backing, ClusterView, Kind, ObjectKey, Origin, ServiceObject};

pub(super) fn key() -> ObjectKey {
    ObjectKey { kind: Kind::FederatedService, namespace: "demo".to_owned(), name: "ping-pong".to_owned() }
}

/// An object of a cluster.
pub(super) fn object() -> Origin {
    Origin::Object { key: key(), uid: "u".to_owned() }
}

/// `server.demo.a.test`, of which `spec.gateways` says `manual`, where `discovered` was.
pub(super) fn offered(origin: Origin, backing: Option<Backing>, discovered: &[Gateway], manual: &[Gateway]) -> Export {
    let cluster = own_cluster("a.test");
    let gateways: Vec<GatewaySpec> = manual.iter().map(Into::into).collect();
    let object = serde_json::from_value::<FederatedServiceObject>(serde_json::json!({
        "metadata": { "name": "ping-pong", "namespace": "demo" },
        "spec": {
            "name": "server", "namespace": "demo", "exportedTrustDomains": ["b.test"], "workloadLabels": { "app": "server" },
            "port": 8443, "tlsMode": "Mtls", "gateways": gateways,
        },
    }));
    let spec = object.unwrap().read().check(&cluster.trust_domain).unwrap();
    let service = ServiceObject { key: key(), origin, age: 1, generation: 1, spec: Some(spec), problems: vec![], backing };
    let view = ClusterView { services: vec![service], ..ClusterView::default() };
    export(&cluster, discovered, &view).remove(0)
}
