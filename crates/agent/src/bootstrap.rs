//! The file that an Envoy beside this agent starts with: `cofide-agent envoy-bootstrap --role gateway|client`.
//!
//! It says who the Envoy is (the node's cluster chooses what the agent shows it, see [`crate::xds_service`]), where the agent's
//! xDS is, and where its identity comes from: the SPIFFE Workload API's socket, as the static cluster `sds-grpc`.
//! Everything else comes over xDS.
//!
//! # Flags of Envoy itself
//!
//! `--drain-time-s 2 --drain-strategy immediate`: a service that is exported no longer loses its live connections this
//! many seconds after the gateway learns of it. Envoy's own default is ten minutes, which is made for HTTP.
//! `--use-dynamic-base-id` where several Envoys share a host.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use cofide_core::{GatewayAddress, Port};
use serde_json::{Value, json};

use crate::role::Role;

/// The static cluster of the SPIFFE Workload API; what comes over xDS refers to it.
pub const SDS_CLUSTER: &str = "sds-grpc";
const XDS_CLUSTER: &str = "xds";
const MAX_CONNECTIONS: u32 = 50_000;

/// The path at which [`EnvoyBootstrap::ready_address`] answers.
const READY_PATH: &str = "/ready";

/// Where the agent serves xDS, as an Envoy is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdsAddress {
    Socket(SocketAddr),
    /// A name that the Envoy resolves again and again, such as that of the Service before the agents of a cluster.
    Name(String, u16),
}

impl From<SocketAddr> for XdsAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl FromStr for XdsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Socket(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or("write IP:PORT or HOST:PORT, as in cofide-agent-xds.cofide.svc:18001")?;
        let port = port.parse::<i64>().map_err(|_| format!("{port:?} is not a port"))?;
        let port = Port::try_from(port).map_err(|error| error.to_string())?;
        match GatewayAddress::from_fields(host, "") {
            Ok(_) => Ok(Self::Name(host.to_owned(), port.get())),
            Err(_) => Err(format!("{host:?} is neither an IP address nor a DNS name")),
        }
    }
}

/// The arguments of the command, and all that a bootstrap depends on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Start Envoy with: envoy --config-path FILE --drain-time-s 2 --drain-strategy immediate --use-dynamic-base-id\n\
                        The drain time is how long connections to a service outlive its export.")]
pub struct EnvoyBootstrap {
    /// What the Envoy is for
    #[arg(long, value_parser = Role::with_bootstrap())]
    pub role: Role,
    /// Name of this Envoy in the agent's logs [default: the role]
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Where the agent serves xDS; a name is resolved by the Envoy
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:18001")]
    pub xds_address: XdsAddress,
    /// Socket of the SPIFFE Workload API
    #[arg(long, value_name = "PATH", env = "SPIFFE_ENDPOINT_SOCKET", value_parser = socket_path, default_value = "/tmp/spire-agent/public/api.sock")]
    pub workload_api_socket: PathBuf,
    /// Where the Envoy serves its admin page; anybody who reaches it can stop the Envoy
    #[arg(long, value_name = "IP:PORT")]
    pub admin_address: Option<SocketAddr>,
    /// Where the Envoy answers /ready, and nothing else, once it has its configuration: for probes
    #[arg(long, value_name = "IP:PORT")]
    pub ready_address: Option<SocketAddr>,
}

/// A path, also where it is written as the SPIFFE Workload API's clients write it: `unix:///path` or `unix:/path`.
fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    match path {
        "" => Err("the path of the socket is missing".into()),
        _ if path.contains("://") => Err("Envoy fetches its identity from a Unix socket; write a path or unix:///path".into()),
        path => Ok(path.into()),
    }
}

impl EnvoyBootstrap {
    /// The bootstrap in Envoy's JSON form, which is YAML as well.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.document())
    }

    fn document(&self) -> Value {
        let cluster = self.role.node_cluster();
        let mut document = json!({
            "node": { "id": self.node_id.as_deref().unwrap_or(cluster), "cluster": cluster },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": XDS_CLUSTER } }],
                },
                "cds_config": { "resource_api_version": "V3", "ads": {} },
                "lds_config": { "resource_api_version": "V3", "ads": {} },
            },
            // Without a limit Envoy warns at every start; this one is far above what a gateway of one host carries, and
            // keeps a flood of connections from taking its memory.
            "overload_manager": {
                "resource_monitors": [{
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MAX_CONNECTIONS,
                    },
                }],
            },
            "static_resources": {
                "clusters": [
                    self.xds_cluster(),
                    grpc_cluster(SDS_CLUSTER, &json!({ "pipe": { "path": self.workload_api_socket } }), &json!({})),
                ],
            },
        });
        if let Some(address) = self.admin_address {
            document["admin"] = json!({ "address": socket_address(address) });
        }
        if let Some(address) = self.ready_address {
            document["static_resources"]["listeners"] = json!([ready_listener(address)]);
        }
        document
    }

    fn xds_cluster(&self) -> Value {
        let address = match &self.xds_address {
            XdsAddress::Socket(address) => socket_address(*address),
            XdsAddress::Name(host, port) => json!({ "socket_address": { "address": host, "port_value": port } }),
        };
        // Without keepalive, an agent that vanished without a word would never be missed.
        let keepalive = json!({ "connection_keepalive": { "interval": "30s", "timeout": "5s" } });
        let mut cluster = grpc_cluster(XDS_CLUSTER, &address, &keepalive);
        if let XdsAddress::Name(..) = self.xds_address {
            cluster["type"] = "LOGICAL_DNS".into();
            // Not an IPv6 address first, for which many a resolver that has none lets wait.
            cluster["dns_lookup_family"] = "V4_PREFERRED".into();
        }
        cluster
    }
}

fn grpc_cluster(name: &str, address: &Value, http2_options: &Value) -> Value {
    json!({
        "name": name,
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": http2_options },
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    })
}

/// Answers from the day that the workers run, which is when everything has been fetched for the first time. Nothing of the admin
/// page is reached through it.
fn ready_listener(address: SocketAddr) -> Value {
    json!({
        "name": "ready",
        "address": socket_address(address),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "ready",
                "route_config": { "name": "ready" },
                "http_filters": [
                    {
                        "name": "envoy.filters.http.health_check",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
                            "pass_through_mode": false,
                            "headers": [{ "name": ":path", "string_match": { "exact": READY_PATH } }],
                        },
                    },
                    {
                        "name": "envoy.filters.http.router",
                        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                    },
                ],
            },
        }] }],
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_names_the_role_the_agent_and_the_workload_api() {
        let bootstrap = EnvoyBootstrap {
            role: Role::Gateway,
            node_id: None,
            xds_address: "127.0.0.1:18001".parse().unwrap(),
            workload_api_socket: "/run/spire/api.sock".into(),
            admin_address: Some("[::1]:9901".parse().unwrap()),
            ready_address: None,
        };
        insta::assert_snapshot!(bootstrap.to_json());
    }

    #[test]
    fn the_agent_is_an_address_or_a_name() {
        let read = |text: &str| text.parse::<XdsAddress>();
        assert_eq!(read("[::1]:18001").unwrap(), XdsAddress::Socket("[::1]:18001".parse().unwrap()));
        assert_eq!(read("cofide-agent-xds.cofide.svc:18001").unwrap(), XdsAddress::Name("cofide-agent-xds.cofide.svc".into(), 18001));
        for (bad, reason) in
            [("cofide-agent-xds", "HOST:PORT"), ("a_b:1", "a_b"), ("agent:0", "from 1 to 65535"), ("agent:xds", "xds"), (":1", "DNS name")]
        {
            let error = read(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn a_socket_is_a_path_with_or_without_its_scheme() {
        for text in ["/run/api.sock", "unix:/run/api.sock", "unix:///run/api.sock"] {
            assert_eq!(socket_path(text).unwrap(), PathBuf::from("/run/api.sock"));
        }
        for text in ["", "unix:", "tcp://127.0.0.1:8081"] {
            assert!(socket_path(text).is_err(), "{text:?}");
        }
    }
}
