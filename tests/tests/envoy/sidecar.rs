//! The sidecar of a pod, whose connections and queries are redirected to it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use cofide_agent::render::envoy::SidecarSettings;
use cofide_agent::role::Role;
use cofide_core::TlsMode::IstioMtls;
use cofide_dns::{Upstream, ZoneHandle};
use cofide_testkit::envoy::Envoy;
use cofide_testkit::wait::works;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{Agent, POOL, Pod, Server, Zone, gateway_at, import, route};

const HOSTNAME: &str = "server.demo.a.test";
/// Known to the resolver behind the agent's.
const ELSEWHERE: &str = "elsewhere.example.org";

/// The bootstrap that spiffe-enable gives every pod, but for the address of the agent.
fn bootstrap(agent: SocketAddr, zone: &Zone) -> String {
    let http2 = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    let cluster = |name: &str, address: serde_json::Value| {
        let endpoints = json!([{ "lb_endpoints": [{ "endpoint": { "address": address } }] }]);
        json!({
            "name": name,
            "connect_timeout": "1s",
            "typed_extension_protocol_options": http2,
            "load_assignment": { "cluster_name": name, "endpoints": endpoints },
        })
    };
    let xds = json!({ "socket_address": { "address": agent.ip(), "port_value": agent.port() } });
    let document = json!({
        "node": { "id": "node", "cluster": "cluster" },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 9901 } } },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds_cluster" } }],
            },
            "cds_config": { "resource_api_version": "V3", "ads": {} },
            "lds_config": { "resource_api_version": "V3", "ads": {} },
        },
        "static_resources": {
            "clusters": [cluster("xds_cluster", xds), cluster("sds-grpc", json!({ "pipe": { "path": zone.socket() } }))],
        },
    });
    document.to_string()
}

/// An application of the pod that listens on all addresses: it repeats what it hears.
const APPLICATION_PORT: u16 = 9090;

fn application() -> String {
    let echo = json!({
        "name": "envoy.filters.network.echo",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" },
    });
    let listener = json!({
        "name": "application",
        "address": { "socket_address": { "address": "0.0.0.0", "port_value": APPLICATION_PORT } },
        "filter_chains": [{ "filters": [echo] }],
    });
    json!({ "static_resources": { "listeners": [listener] } }).to_string()
}

async fn resolver(ip: Ipv4Addr, zone: ZoneHandle, upstream: Upstream) -> (SocketAddr, DropGuard) {
    let stop = CancellationToken::new();
    let bound = cofide_dns::serve(&[(ip, 0).into()], zone, upstream, stop.clone()).await.unwrap();
    (bound.addresses[0], stop.drop_guard())
}

/// Asks a name server that the pod's resolv.conf might name; the redirects lead to the sidecar.
async fn ask(pod: &Pod, transport: &str, name: &str, record_type: RecordType) -> anyhow::Result<(ResponseCode, Vec<RData>)> {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name.parse()?, record_type));
    let mut message = query.to_vec()?;
    if transport == "tcp" {
        message.splice(0..0, u16::try_from(message.len())?.to_be_bytes());
    }
    let answer = pod.dns(transport, Ipv4Addr::new(10, 96, 0, 10), &message).await?;
    let answer = Message::from_vec(if transport == "tcp" { answer.get(2..).unwrap_or_default() } else { &answer })?;
    Ok((answer.metadata.response_code, answer.answers.into_iter().map(|record| record.data).collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reaches_imports_by_name_and_everything_else_as_before() {
    if let Err(reason) = Pod::possible() {
        panic!("this test makes a pod of a network namespace: {reason}; install with lab/network/install and run as root");
    }
    let pod = Pod::create().unwrap();
    let host = pod.host_address;
    let (a, b) = Zone::pair().await;
    let server = Server::plain_that_speaks_first("server").await;
    // DNS: the agent's resolver, the cluster's behind it, which is also the fallback.
    let elsewhere = Ipv4Addr::new(192, 0, 2, 7);
    let others = ZoneHandle::new();
    others.set(BTreeMap::from([(ELSEWHERE.parse().unwrap(), elsewhere)]));
    let (cluster_dns, _cluster_resolver) = resolver(host, others, Upstream::Nobody).await;
    let names = ZoneHandle::new();
    let (agent_dns, agent_resolver) = resolver(host, names.clone(), Upstream::Servers(vec![cluster_dns])).await;
    let settings = SidecarSettings { pool: POOL.parse().unwrap(), resolver: agent_dns, fallback_resolvers: [cluster_dns].into() };

    let (exporter, importer) = (Agent::start_at(host, settings.clone()).await, Agent::start_at(host, settings).await);
    exporter.export(&[route(HOSTNAME, IstioMtls, &["b.test"], &[server.address])]);
    let _gateway = exporter.envoy(Role::Gateway, &a).await;
    let imported = import(HOSTNAME, IstioMtls, &[gateway_at(&host.to_string(), exporter.gateway_address.port())]);
    let SocketAddr::V4(loopback) = importer.import(&[imported])[0] else { unreachable!("loopback is IPv4 here") };
    names.set(BTreeMap::from([(HOSTNAME.parse().unwrap(), *loopback.ip())]));

    let _sidecar = Envoy::spawn("sidecar", &bootstrap(importer.xds_address, &b), &pod.wrapper()).unwrap();
    let _application = Envoy::spawn("application", &application(), &pod.wrapper()).unwrap();

    // Connections.
    let (ip, port) = (*loopback.ip(), loopback.port());
    let answer = works("an import", || pod.hello(ip, port)).await;
    assert_eq!(answer, "server is ready", "from a server that speaks first");
    let answer = works("an application of the pod", || pod.hello(Ipv4Addr::LOCALHOST, APPLICATION_PORT)).await;
    assert_eq!(answer, "hello");
    assert!(pod.hello(ip, APPLICATION_PORT).await.is_err(), "an application of the pod answers in the import's name");
    assert!(pod.hello(Ipv4Addr::LOCALHOST, 10000).await.is_err(), "the sidecar's own port leads nowhere");

    // Names.
    let is_import = (ResponseCode::NoError, vec![RData::A(ip.into())]);
    let is_elsewhere = (ResponseCode::NoError, vec![RData::A(elsewhere.into())]);
    for transport in ["udp", "tcp"] {
        assert_eq!(ask(&pod, transport, HOSTNAME, RecordType::A).await.unwrap(), is_import, "{transport}");
        assert_eq!(ask(&pod, transport, &HOSTNAME.to_uppercase(), RecordType::A).await.unwrap(), is_import, "{transport}");
        assert_eq!(ask(&pod, transport, HOSTNAME, RecordType::AAAA).await.unwrap(), (ResponseCode::NoError, vec![]), "{transport}");
        assert_eq!(ask(&pod, transport, HOSTNAME, RecordType::TXT).await.unwrap(), (ResponseCode::NoError, vec![]), "{transport}");
        assert_eq!(ask(&pod, transport, ELSEWHERE, RecordType::A).await.unwrap(), is_elsewhere, "{transport}");
    }

    // Nothing was refused on the way.
    let proxies = importer.xds.proxies().get();
    assert!(!proxies.is_empty() && proxies.iter().all(|proxy| proxy.rejected.is_empty()), "{proxies:?}");

    // Without the agent's resolver, other names are resolved still.
    drop(agent_resolver);
    for transport in ["udp", "tcp"] {
        works("the fallback answers", async || {
            let answer = ask(&pod, transport, ELSEWHERE, RecordType::A).await?;
            anyhow::ensure!(answer == is_elsewhere, "{answer:?}");
            Ok(())
        })
        .await;
    }
}
