//! The configuration: every key with its meaning, its default and its bounds.
//!
//! One struct serves the file, the environment and the flags (see [`crate::cli`]), so a key has one name everywhere.
//! What can be checked without touching the machine is checked in [`Config::check`], before anything is created.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use cofide_connect_client::{ConnectUrl, ConnectUrlError};
use cofide_core::{
    ClusterId, DnsLabel, Gateway, GatewayAddress, GatewayKind, MAX_GATEWAYS, Name, Port, Profile, TrustDomain, TrustZoneId, UnknownProfile,
    parse_trust_domain,
};
use cofide_runtime::config::InvalidKey;
use cofide_runtime::duration;
use cofide_runtime::logging::Format;
use serde::{Deserialize, Serialize};

use crate::addresses::LoopbackPool;
use crate::mesh::MeshKeeperSettings;
use crate::permissions::{ISTIOD, MESH_CONFIG_MAP};
use crate::render::spire::SpireSettings;
use crate::sources::kubernetes::decide::{CrossNamespace, SourceSettings};
use crate::sources::kubernetes::gateways::GatewaySettings;
use crate::spire::SpireAccess;

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What surrounds the agent: `host`, `kubernetes`, or `istio` for a cluster with Istio.
    pub profile: String,
    /// How the API server is reached; unset in a pod, where its service account says it.
    pub kubeconfig: Option<PathBuf>,
    /// Which context of that file; unset for its current one.
    pub kube_context: Option<String>,
    /// The namespace of the agent; unset for that of its service account.
    pub pod_namespace: Option<String>,
    /// The name of this agent among those of its cluster; unset for that of the machine.
    pub pod_name: Option<String>,
    /// Where the Services of the gateways are.
    pub gateway_namespace: String,
    /// The Service of the ingress gateway; empty where none is to be looked for.
    pub ingress_gateway: String,
    /// The Service of the east-west gateway; empty where none is to be looked for.
    pub east_west_gateway: String,
    /// Where remote clients reach the nodes, for gateways of type NodePort; empty where these are not to be used.
    pub gateway_node_addresses: Vec<String>,
    /// Where istiod is: Istio's root namespace.
    pub mesh_namespace: String,
    /// The ConfigMap there from which istiod reads its MeshConfig.
    pub mesh_config_map: String,
    /// The name of istiod's Deployment.
    pub istiod: String,
    /// Whether the agent writes what the mesh configuration lacks.
    pub manage_mesh_config: bool,
    /// Namespaces whose FederatedServices may name another one in `spec.namespace`; `*` for all.
    pub cross_namespace_from: Vec<String>,
    /// The folder for everything that is kept. One process at a time.
    pub data_dir: PathBuf,
    /// The folder with FederatedService and WorkloadEntry manifests; their status is written beside them.
    pub manifest_dir: PathBuf,
    /// What `cofidectl agent join-token create --output-file` wrote. Each of the next seven keys wins over what it says.
    pub bootstrap_file: Option<PathBuf>,
    /// The join token; needed once.
    pub agent_token: Option<String>,
    /// The cluster that the token was made for.
    pub cluster_id: Option<String>,
    /// The name of that cluster.
    pub cluster_name: Option<String>,
    /// The trust zone of the cluster.
    pub trust_zone_id: Option<String>,
    /// The trust domain of that zone.
    pub trust_domain: Option<String>,
    /// Where Connect is, as `host:port`; without a port it is 443.
    pub connect_url: Option<String>,
    /// Connect's own trust domain.
    pub connect_trust_domain: Option<String>,
    /// Where the SPIFFE Workload API is, as `unix:///path`.
    pub spiffe_endpoint_socket: String,
    /// How the SPIRE server is kept in step with Connect: by the agent over `spire_server_socket`, by objects for
    /// spire-controller-manager, or by somebody else.
    pub spire: SpireAccess,
    /// The class of spire-controller-manager that is to act on the objects; empty where it takes those without one.
    pub spire_class_name: String,
    /// The Unix socket of the SPIRE server API.
    pub spire_server_socket: PathBuf,
    /// Where local Envoys and SDKs fetch their configuration (xDS, plain text). Port 0 takes a free port.
    pub xds_address: SocketAddr,
    /// Where the resolver listens, UDP and TCP. Port 0 takes a free port.
    pub dns_address: SocketAddr,
    /// Resolvers for everything that is not imported; empty for those of the machine.
    pub dns_upstreams: Vec<SocketAddr>,
    /// Where the gateway Envoy listens for remote trust zones.
    pub gateway_listen_address: SocketAddr,
    /// How remote trust zones reach the gateway, as `host:port` or `ip:port`; empty for `gateway_listen_address` itself.
    pub gateway_addresses: Vec<String>,
    /// The range within 127.0.0.0/8 from which each imported service gets an address of its own.
    pub import_addresses: LoopbackPool,
    /// Health, readiness and metrics over HTTP; unset for nowhere.
    pub admin_address: Option<SocketAddr>,
    /// How often to look again without being told: manifests, the SPIRE server, Connect's list of services.
    #[serde(with = "duration")]
    pub resync_interval: Duration,
    /// How often to read all entries of the SPIRE server again: manual changes to the agent's own are undone then.
    #[serde(with = "duration")]
    pub spire_reread_interval: Duration,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,cofide_xds=debug`.
    pub log_level: String,
    /// `text` or `json`.
    pub log_format: Format,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            profile: Profile::Host.as_str().into(),
            kubeconfig: None,
            kube_context: None,
            pod_namespace: None,
            pod_name: None,
            gateway_namespace: "istio-system".into(),
            ingress_gateway: GatewayKind::Ingress.as_str().into(),
            east_west_gateway: GatewayKind::EastWest.as_str().into(),
            gateway_node_addresses: Vec::new(),
            mesh_namespace: "istio-system".into(),
            mesh_config_map: MESH_CONFIG_MAP.into(),
            istiod: ISTIOD.into(),
            manage_mesh_config: false,
            cross_namespace_from: Vec::new(),
            data_dir: "agent-data".into(),
            manifest_dir: "manifests".into(),
            bootstrap_file: None,
            agent_token: None,
            cluster_id: None,
            cluster_name: None,
            trust_zone_id: None,
            trust_domain: None,
            connect_url: None,
            connect_trust_domain: None,
            spiffe_endpoint_socket: "unix:///tmp/spire-agent/public/api.sock".into(),
            spire: SpireAccess::default(),
            spire_class_name: String::new(),
            spire_server_socket: "/tmp/spire-server/private/api.sock".into(),
            xds_address: local(18001),
            dns_address: local(10053),
            dns_upstreams: Vec::new(),
            gateway_listen_address: local(15443),
            gateway_addresses: Vec::new(),
            import_addresses: LoopbackPool::default(),
            admin_address: None,
            resync_interval: Duration::from_secs(30),
            spire_reread_interval: Duration::from_secs(60),
            log_level: "info".into(),
            log_format: Format::default(),
        }
    }
}

/// A configuration that is free of contradictions, in the types that the rest of the agent uses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Absent on a host.
    pub kubernetes: Option<KubernetesSettings>,
    pub data_dir: PathBuf,
    pub manifest_dir: PathBuf,
    pub join: JoinSettings,
    /// As `unix:///path`.
    pub spiffe_endpoint_socket: String,
    /// Never `auto` on a host, nor `crd`.
    pub spire: SpireAccess,
    pub spire_server_socket: PathBuf,
    pub xds_address: SocketAddr,
    pub dns_address: SocketAddr,
    pub dns_upstreams: Vec<SocketAddr>,
    pub gateway_listen_address: SocketAddr,
    /// What remote zones are told: sorted, without duplicates; empty where no address can be told.
    pub gateway_entries: Vec<Gateway>,
    pub import_addresses: LoopbackPool,
    pub admin_address: Option<SocketAddr>,
    pub resync: Duration,
    pub spire_reread: Duration,
}

/// What an agent of a Kubernetes cluster needs to know beyond that.
#[derive(Clone, Debug)]
pub struct KubernetesSettings {
    /// Whether the gateways and the clients are Istio's.
    pub is_istio: bool,
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub namespace: Option<String>,
    pub pod_name: Option<String>,
    pub source: SourceSettings,
    pub spire: SpireSettings,
    pub mesh: MeshKeeperSettings,
}

/// What the configuration says about joining; the bootstrap file says the rest.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JoinSettings {
    pub bootstrap_file: Option<PathBuf>,
    pub agent_token: Option<String>,
    pub cluster_id: Option<ClusterId>,
    pub cluster_name: Option<Name>,
    pub trust_zone_id: Option<TrustZoneId>,
    pub trust_domain: Option<TrustDomain>,
    pub connect_url: Option<ConnectUrl>,
    pub connect_trust_domain: Option<TrustDomain>,
}

impl std::fmt::Debug for JoinSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bootstrap_file, cluster_id, trust_zone_id, connect_url, .. } = self;
        write!(f, "JoinSettings({bootstrap_file:?}, {cluster_id:?}, {trust_zone_id:?}, {connect_url:?})")
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { data_dir, manifest_dir, bootstrap_file, .. } = self;
        write!(f, "Config({data_dir:?}, {manifest_dir:?}, {bootstrap_file:?})")
    }
}

fn refuse<T>(key: &'static str, reason: String) -> Result<T, InvalidKey> {
    Err(InvalidKey::new(key, reason))
}

impl Config {
    /// Checks what needs no look at the machine.
    pub fn check(self) -> Result<Settings, InvalidKey> {
        let profile = self.profile.parse().or_else(|error: UnknownProfile| refuse("profile", error.to_string()))?;
        for (key, interval) in [("resync_interval", self.resync_interval), ("spire_reread_interval", self.spire_reread_interval)] {
            if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) {
                return refuse(key, format!("{} is out of bounds; use a duration from 1s to 1h", duration::format(interval)));
            }
        }
        if !self.spiffe_endpoint_socket.starts_with("unix:") {
            let reason = format!("{:?} is not of the form unix:///path/to/socket", self.spiffe_endpoint_socket);
            return refuse("spiffe_endpoint_socket", reason);
        }
        let spire = match (profile, self.spire) {
            (Profile::Host, SpireAccess::Auto) => SpireAccess::Socket,
            (Profile::Host, SpireAccess::Crd) => {
                return refuse("spire", "crd is for objects of a Kubernetes cluster; with profile host use socket or none".into());
            }
            (_, access) => access,
        };
        let gateway_entries = self.gateway_entries(profile)?;
        Ok(Settings {
            kubernetes: (profile != Profile::Host).then(|| self.kubernetes(profile)).transpose()?,
            data_dir: self.data_dir,
            manifest_dir: self.manifest_dir,
            join: JoinSettings {
                bootstrap_file: self.bootstrap_file,
                agent_token: given(self.agent_token.as_deref()).map(str::to_owned),
                cluster_id: parsed("cluster_id", self.cluster_id.as_deref(), str::parse)?,
                cluster_name: parsed("cluster_name", self.cluster_name.as_deref(), str::parse)?,
                trust_zone_id: parsed("trust_zone_id", self.trust_zone_id.as_deref(), str::parse)?,
                trust_domain: parsed("trust_domain", self.trust_domain.as_deref(), parse_trust_domain)?,
                connect_url: connect_url(self.connect_url.as_deref())?,
                connect_trust_domain: parsed("connect_trust_domain", self.connect_trust_domain.as_deref(), parse_trust_domain)?,
            },
            spiffe_endpoint_socket: self.spiffe_endpoint_socket,
            spire,
            spire_server_socket: self.spire_server_socket,
            xds_address: self.xds_address,
            dns_address: self.dns_address,
            dns_upstreams: self.dns_upstreams,
            gateway_listen_address: self.gateway_listen_address,
            gateway_entries,
            import_addresses: self.import_addresses,
            admin_address: self.admin_address,
            resync: self.resync_interval,
            spire_reread: self.spire_reread_interval,
        })
    }

    fn kubernetes(&self, profile: Profile) -> Result<KubernetesSettings, InvalidKey> {
        let label = |key, text: &str| match text.parse::<DnsLabel>() {
            Ok(label) => Ok(label),
            Err(error) => refuse(key, format!("{text:?} {error}")),
        };
        let name = |key, text: &str| if text.is_empty() { Ok(String::new()) } else { label(key, text).map(|label| label.to_string()) };
        let node_addresses = self.gateway_node_addresses.iter().filter(|text| !text.is_empty()).map(|text| {
            let address = if text.parse::<IpAddr>().is_ok() { ("", text.as_str()) } else { (text.as_str(), "") };
            GatewayAddress::from_fields(address.0, address.1).or_else(|error| refuse("gateway_node_addresses", error.to_string()))
        });
        let trusted: Vec<_> = self.cross_namespace_from.iter().filter(|text| !text.is_empty()).collect();
        Ok(KubernetesSettings {
            is_istio: profile == Profile::Istio,
            kubeconfig: self.kubeconfig.clone().filter(|path| !path.as_os_str().is_empty()),
            context: given(self.kube_context.as_deref()).map(str::to_owned),
            namespace: given(self.pod_namespace.as_deref())
                .map(|text| label("pod_namespace", text))
                .transpose()?
                .map(|label| label.to_string()),
            pod_name: given(self.pod_name.as_deref()).map(str::to_owned),
            spire: SpireSettings { class_name: self.spire_class_name.clone() },
            mesh: MeshKeeperSettings {
                namespace: label("mesh_namespace", &self.mesh_namespace)?.to_string(),
                config_map: label("mesh_config_map", &self.mesh_config_map)?.to_string(),
                istiod: label("istiod", &self.istiod)?.to_string(),
                manages: self.manage_mesh_config,
            },
            source: SourceSettings {
                gateways: GatewaySettings {
                    namespace: label("gateway_namespace", &self.gateway_namespace)?.to_string(),
                    ingress: name("ingress_gateway", &self.ingress_gateway)?,
                    east_west: name("east_west_gateway", &self.east_west_gateway)?,
                    node_addresses: node_addresses.collect::<Result<_, _>>()?,
                },
                cross_namespace: match trusted.as_slice() {
                    [] => CrossNamespace::Nobody,
                    list if list.iter().any(|text| *text == "*") => CrossNamespace::Everybody,
                    list => CrossNamespace::From(list.iter().map(|text| label("cross_namespace_from", text)).collect::<Result<_, _>>()?),
                },
            },
        })
    }

    fn gateway_entries(&self, profile: Profile) -> Result<Vec<Gateway>, InvalidKey> {
        let listen = self.gateway_listen_address;
        if listen.port() == 0 {
            return refuse("gateway_listen_address", "remote clients need to know the port; give one from 1 to 65535".into());
        }
        let mut addresses = self.gateway_addresses.clone();
        // In a cluster, where the gateway listens says nothing about where it is reached: that is discovered.
        if profile == Profile::Host && addresses.is_empty() && !listen.ip().is_unspecified() {
            addresses.push(listen.to_string());
        }
        let mut entries = addresses.iter().map(|address| gateway(address)).collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        entries.dedup();
        if entries.len() > MAX_GATEWAYS {
            let reason =
                format!("has {} entries, at most {MAX_GATEWAYS} are registered for a service; name a load balancer", entries.len());
            return refuse("gateway_addresses", reason);
        }
        Ok(entries)
    }
}

/// A value that says something: the charts of the field set the variables that they do not use to the empty string.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn connect_url(text: Option<&str>) -> Result<Option<ConnectUrl>, InvalidKey> {
    // The error names the text itself.
    given(text).map(|text| text.parse().or_else(|error: ConnectUrlError| refuse("connect_url", error.to_string()))).transpose()
}

fn parsed<T, E: std::fmt::Display>(
    key: &'static str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, InvalidKey> {
    given(text).map(|text| parse(text).or_else(|error| refuse(key, format!("{text:?}: {error}")))).transpose()
}

fn gateway(address: &str) -> Result<Gateway, InvalidKey> {
    let wrong = |reason: String| InvalidKey::new("gateway_addresses", format!("{address:?}: {reason}"));
    let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("write host:port, as in gateway.example.com:15443".into()))?;
    let port = port.parse::<i64>().map_err(|_| wrong(format!("{port:?} is not a port")))?;
    let port = Port::try_from(port).map_err(|error| wrong(error.to_string()))?;
    let ip = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let address = match ip.parse() {
        Ok(ip) => GatewayAddress::Ip(ip),
        Err(_) => GatewayAddress::from_fields(host, "").map_err(|error| wrong(error.to_string()))?,
    };
    Ok(Gateway { kind: GatewayKind::Ingress, address, port })
}

/// The configuration file with every key at its default, commented: what `config print-default` prints.
pub const DEFAULT_FILE: &str = include_str!("default-config.yaml");

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> Result<Settings, InvalidKey> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn the_default_is_valid_and_stays_on_loopback() {
        let settings = Config::default().check().unwrap();
        for address in [settings.xds_address, settings.dns_address, settings.gateway_listen_address] {
            assert!(address.ip().is_loopback(), "{address}");
        }
        assert_eq!(settings.gateway_entries[0].to_string(), "istio-ingressgateway 127.0.0.1:15443");
    }

    #[test]
    fn the_printed_default_is_the_default() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), DEFAULT_FILE).unwrap();
        let read: Config = cofide_runtime::config::load(Some(file.path()), &serde_json::json!({})).unwrap();
        assert!(read == Config::default());
        let keys = serde_json::to_value(Config::default()).unwrap();
        for key in keys.as_object().unwrap().keys() {
            assert!(DEFAULT_FILE.contains(&format!("\n{key}:")), "{key} is not in the printed default");
            let pages = concat!(include_str!("../../../docs/agent-host.md"), include_str!("../../../docs/kubernetes/agent.md"));
            assert!(pages.contains(&format!("\n| `{key}` |")), "{key} is on no page about the agent");
        }
    }

    #[test]
    fn remote_zones_are_told_an_address_that_they_can_dial() {
        let entries = |listen: &str, told: &[&str]| {
            let settings = with(|config| {
                config.gateway_listen_address = listen.parse().unwrap();
                config.gateway_addresses = told.iter().map(|&address| address.to_owned()).collect();
            });
            settings.unwrap().gateway_entries.iter().map(|gateway| gateway.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(entries("0.0.0.0:15443", &[]), [""; 0], "nobody can dial 0.0.0.0");
        assert_eq!(entries("127.0.1.1:15443", &[]), ["istio-ingressgateway 127.0.1.1:15443"]);
        assert_eq!(
            entries("0.0.0.0:15443", &["gw.example.com:443", "[2001:db8::1]:443", "gw.example.com:443"]),
            ["istio-ingressgateway gw.example.com:443", "istio-ingressgateway [2001:db8::1]:443"]
        );
    }

    #[test]
    fn each_wrong_value_is_named_with_its_key() {
        type Change = fn(&mut Config);
        let wrong: [(&str, Change); 16] = [
            ("spire", |config| config.spire = SpireAccess::Crd),
            ("cross_namespace_from", |config| {
                (config.profile, config.cross_namespace_from) = ("istio".into(), vec!["Platform".into()]);
            }),
            ("gateway_node_addresses", |config| {
                (config.profile, config.gateway_node_addresses) = ("kubernetes".into(), vec!["1.2.3.4:5".into()]);
            }),
            ("gateway_namespace", |config| (config.profile, config.gateway_namespace) = ("kubernetes".into(), String::new())),
            ("pod_namespace", |config| (config.profile, config.pod_namespace) = ("istio".into(), Some("a/b".into()))),
            ("profile", |config| config.profile = "laptop".into()),
            ("resync_interval", |config| config.resync_interval = Duration::ZERO),
            ("spire_reread_interval", |config| config.spire_reread_interval = Duration::from_secs(7200)),
            ("spiffe_endpoint_socket", |config| config.spiffe_endpoint_socket = "/tmp/api.sock".into()),
            ("connect_url", |config| config.connect_url = Some("http://connect.example.com".into())),
            ("trust_domain", |config| config.trust_domain = Some("A.test".into())),
            ("cluster_id", |config| config.cluster_id = Some("a b".into())),
            ("gateway_addresses", |config| config.gateway_addresses = vec!["gw.example.com".into()]),
            ("gateway_addresses", |config| config.gateway_addresses = vec!["gw.example.com:0".into()]),
            ("gateway_addresses", |config| {
                config.gateway_addresses = (0..=MAX_GATEWAYS).map(|number| format!("gw-{number}.example.com:15443")).collect();
            }),
            ("gateway_listen_address", |config| config.gateway_listen_address.set_port(0)),
        ];
        for (key, change) in wrong {
            assert_eq!(with(change).unwrap_err().key, key);
        }
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let settings = with(|config| {
            config.agent_token = Some(String::new());
            config.cluster_id = Some(String::new());
            config.connect_url = Some(String::new());
        });
        assert_eq!(settings.unwrap().join, JoinSettings::default());
    }

    #[test]
    fn connect_is_named_here_in_every_form_that_a_person_may_use_for_it() {
        for (text, url) in [
            ("connect.example.com:8443", "connect.example.com:8443"),
            ("https://connect.example.com:8443", "connect.example.com:8443"),
            ("connect.example.com", "connect.example.com:443"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            let settings = with(|config| config.connect_url = Some(text.into())).unwrap();
            assert_eq!(settings.join.connect_url.unwrap().to_string(), url);
        }
    }

    #[test]
    fn a_token_does_not_reach_the_log() {
        let config = Config { agent_token: Some("s3cret".into()), ..Config::default() };
        assert!(!format!("{config:?}").contains("s3cret"));
        assert!(!format!("{:?}", config.check().unwrap()).contains("s3cret"));
    }
}
