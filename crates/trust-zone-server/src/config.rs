//! What the operator decides: one YAML file, checked once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cofide_bundle_endpoint::Pace;
use cofide_core::{Hostname, Selector, TrustDomain};
use cofide_runtime::config::InvalidKey;
use cofide_runtime::{duration, logging};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The checked configuration. Durations are written as in `90s`, `5m`, `1h`, `1d`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain whose authority this server is. Fixed once the data folder has been used.
    #[serde(deserialize_with = "trust_domain", serialize_with = "text")]
    pub trust_domain: TrustDomain,
    /// Keys, entries and bundles live here (0700).
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// The socket for workloads: Workload API and SDS. Any user of the machine may connect; attestation decides.
    /// Unset: `workload-api.sock` in the data folder, which only its owner can reach.
    pub workload_api_socket: Option<PathBuf>,
    /// The socket for the SPIRE server APIs. Only the owner may connect. Unset: `admin.sock` in the data folder.
    pub admin_socket: Option<PathBuf>,
    /// Health, readiness and metrics over HTTP. Unset: not served.
    pub admin_address: Option<SocketAddr>,
    /// How many connections one user may have open to the workload socket. Each costs two file descriptors.
    #[serde(default = "default_max_connections_per_user")]
    pub max_connections_per_user: usize,
    /// Unset: the bundle is not published.
    pub bundle_endpoint: Option<BundleEndpoint>,
    /// How often federation partners should look at the bundle again.
    #[serde(default = "default_refresh_hint", with = "duration")]
    pub bundle_refresh_hint: Duration,
    #[serde(default = "one_hour", with = "duration")]
    pub x509_svid_ttl: Duration,
    #[serde(default = "five_minutes", with = "duration")]
    pub jwt_svid_ttl: Duration,
    /// Life of a certificate authority. The next one is prepared at half of it and signs when a sixth is left.
    #[serde(default = "one_day", with = "duration")]
    pub ca_ttl: Duration,
    /// Life of a key that signs JWT-SVIDs; rotates like the certificate authority.
    #[serde(default = "one_day", with = "duration")]
    pub jwt_key_ttl: Duration,
    #[serde(default)]
    pub federation: Federation,
    #[serde(default)]
    pub attestation: Attestation,
    #[serde(default)]
    pub sds: Sds,
    /// Entries that are there from the start. They are listed through the API and cannot be changed through it.
    #[serde(default)]
    pub entries: Vec<StaticEntry>,
    #[serde(default)]
    pub log_format: logging::Format,
    #[serde(default = "default_log_level")]
    pub log_level: String,
}

/// The `https_spiffe` endpoint at which federation partners fetch the bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleEndpoint {
    pub address: SocketAddr,
}

/// How the bundles of federation partners are polled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Federation {
    /// A partner is never asked more often than this, whatever its refresh hint says.
    #[serde(with = "duration")]
    pub minimum_poll_interval: Duration,
    /// For partners whose bundle carries no refresh hint.
    #[serde(with = "duration")]
    pub default_poll_interval: Duration,
    /// For one whole fetch: resolve, connect, handshake and answer.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// PEM file of the authorities that `https_web` endpoints are verified with. Unset: those of the machine.
    pub web_roots: Option<PathBuf>,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            minimum_poll_interval: Duration::from_secs(60),
            default_poll_interval: Pace::WITHOUT_HINT,
            timeout: Duration::from_secs(10),
            web_roots: None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attestation {
    /// Bytes. A larger executable gets no `unix:sha256` selector.
    pub executable_size_limit: u64,
}

impl Default for Attestation {
    fn default() -> Self {
        Self { executable_size_limit: 1 << 30 }
    }
}

/// Names of SDS resources, beside SPIFFE IDs and the IDs of trust domains. The defaults are those of SPIRE's agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sds {
    /// The workload's first SVID.
    pub default_svid_name: String,
    /// The bundle of the workload's own trust domain.
    pub default_bundle_name: String,
    /// The bundles of all trust domains that the workload trusts.
    pub default_all_bundles_name: String,
}

impl Default for Sds {
    fn default() -> Self {
        Self { default_svid_name: "default".into(), default_bundle_name: "ROOTCA".into(), default_all_bundles_name: "ALL".into() }
    }
}

/// An entry of the configuration file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticEntry {
    /// As in `/ns/demo/sa/server`.
    pub spiffe_id_path: String,
    /// As in `unix:uid:1000`; a workload needs all of them.
    #[serde(deserialize_with = "selectors", serialize_with = "texts")]
    pub selectors: BTreeSet<Selector>,
    /// Trust domains whose bundles the workload receives, as soon as they are held.
    #[serde(default, deserialize_with = "trust_domains", serialize_with = "texts")]
    pub federates_with: BTreeSet<TrustDomain>,
    #[serde(default, deserialize_with = "hostnames")]
    pub dns_names: Vec<String>,
    #[serde(default)]
    pub hint: String,
}

impl Config {
    /// The rules that concern more than one key.
    pub fn check(&self) -> Result<(), InvalidKey> {
        let refuse = |key: &str, reason: String| Err(InvalidKey::new(key, reason));
        let spans = [
            ("bundle_refresh_hint", self.bundle_refresh_hint),
            ("x509_svid_ttl", self.x509_svid_ttl),
            ("jwt_svid_ttl", self.jwt_svid_ttl),
            ("federation.minimum_poll_interval", self.federation.minimum_poll_interval),
            ("federation.default_poll_interval", self.federation.default_poll_interval),
            ("federation.timeout", self.federation.timeout),
        ];
        if let Some((key, _)) = spans.into_iter().find(|(_, life)| life.is_zero()) {
            return refuse(key, "must be longer than zero".into());
        }
        if self.max_connections_per_user == 0 {
            return refuse("max_connections_per_user", "0 would admit nobody; use a positive number".into());
        }
        let pairs = [
            ("ca_ttl", self.ca_ttl, "x509_svid_ttl", self.x509_svid_ttl),
            ("jwt_key_ttl", self.jwt_key_ttl, "jwt_svid_ttl", self.jwt_svid_ttl),
        ];
        for (authority, authority_life, svid, svid_life) in pairs {
            let least = svid_life.saturating_mul(6);
            if authority_life < least {
                let [given, least, svid_life] = [authority_life, least, svid_life].map(duration::format);
                let reason = format!(
                    "{given} is too short beside {svid} ({svid_life}); use at least {least}, six times that: the next authority takes over \
                     when a sixth of the life is left, and an SVID ends with its authority"
                );
                return refuse(authority, reason);
            }
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let problem = |field, reason: String| refuse(&format!("entries[{index}].{field}"), reason);
            if entry.selectors.is_empty() {
                return problem(
                    "selectors",
                    "must name at least one, as in unix:uid:1000; an entry without selectors would match every process".into(),
                );
            }
            if let Some(error) = entry.selectors.iter().find_map(|selector| crate::attestation::check(selector).err()) {
                return problem("selectors", error);
            }
            if entry.federates_with.contains(&self.trust_domain) {
                return problem("federates_with", format!("{} is the server's own trust domain", self.trust_domain));
            }
            if let Err(error) = crate::datastore::workload_id(&self.trust_domain, &entry.spiffe_id_path) {
                return problem("spiffe_id_path", error);
            }
        }
        let names = [&self.sds.default_svid_name, &self.sds.default_bundle_name, &self.sds.default_all_bundles_name];
        match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
            Some((_, name)) => refuse("sds", format!("{name:?} names two different secrets; give each its own name")),
            None => Ok(()),
        }
    }

    pub fn workload_api_socket(&self) -> PathBuf {
        self.workload_api_socket.clone().unwrap_or_else(|| self.data_dir.join("workload-api.sock"))
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.admin_socket.clone().unwrap_or_else(|| self.data_dir.join("admin.sock"))
    }
}

/// Where the commands look for the server where nobody says otherwise: in the folder that it uses where nobody says
/// otherwise.
pub const DEFAULT_ADMIN_SOCKET: &str = "trust-zone-server-data/admin.sock";
const DEFAULT_DATA_DIR: &str = "trust-zone-server-data";

/// The configuration file with every key at its default, commented: what `config print-default` prints.
pub const DEFAULT_FILE: &str = include_str!("default-config.yaml");

fn default_data_dir() -> PathBuf {
    DEFAULT_DATA_DIR.into()
}

fn default_refresh_hint() -> Duration {
    Duration::from_secs(300)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

fn one_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn default_log_level() -> String {
    "info".into()
}

fn default_max_connections_per_user() -> usize {
    256
}

fn text<T: ToString, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn texts<T: ToString, S: Serializer>(values: &BTreeSet<T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

fn trust_domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TrustDomain, D::Error> {
    parse_trust_domain(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn trust_domains<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<TrustDomain>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| parse_trust_domain(name)).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

fn parse_trust_domain(name: &str) -> Result<TrustDomain, String> {
    cofide_core::parse_trust_domain(name).map_err(|error| format!("trust domain {name:?}: {error}"))
}

fn selectors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Selector>, D::Error> {
    let selectors = Vec::<String>::deserialize(deserializer)?;
    selectors.iter().map(|selector| selector.parse()).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

fn hostnames<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    for name in &names {
        name.parse::<Hostname>().map_err(|error| serde::de::Error::custom(format!("DNS name {name:?} {error}")))?;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(value: &serde_json::Value) -> Result<Config, String> {
        let config: Config = cofide_runtime::config::load(None, value).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_trust_domain_is_all_that_is_needed() {
        let config = load(&json!({"trust_domain": "a.test"})).unwrap();
        assert_eq!(config.x509_svid_ttl, Duration::from_secs(3600));
        assert_eq!(config.jwt_svid_ttl, Duration::from_secs(300));
        assert_eq!(config.ca_ttl, Duration::from_secs(86400));
        assert_eq!(config.admin_socket(), PathBuf::from("trust-zone-server-data/admin.sock"));
        assert!(config.bundle_endpoint.is_none());
    }

    #[test]
    fn the_example_of_the_page_loads() {
        let page = include_str!("../../../docs/trust-zone-server.md");
        let (_, rest) = page.split_once("```yaml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), example).unwrap();
        let config: Config = cofide_runtime::config::load(Some(file.path()), &json!({})).unwrap();
        config.check().unwrap();
        assert_eq!(config.entries.len(), 1);
    }

    #[test]
    fn the_printed_default_is_the_default_and_has_every_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), DEFAULT_FILE).unwrap();
        let overrides = json!({"trust_domain": "a.test"});
        let printed: Config = cofide_runtime::config::load(Some(file.path()), &overrides).unwrap();
        let printed = serde_json::to_value(printed).unwrap();
        let default = serde_json::to_value(load(&overrides).unwrap()).unwrap();
        assert_eq!(printed, default);
        let page = include_str!("../../../docs/trust-zone-server.md");
        for key in default.as_object().unwrap().keys() {
            assert!(DEFAULT_FILE.contains(&format!("\n{key}:")), "{key} is not in the printed default");
            assert!(page.contains(&format!("\n| `{key}")), "{key} is not in docs/trust-zone-server.md");
        }
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let config = load(&json!({
            "trust_domain": "a.test",
            "admin_address": "127.0.0.1:1",
            "x509_svid_ttl": "1h30m",
            "entries": [{"spiffe_id_path": "/x", "selectors": ["unix:uid:1"], "federates_with": ["b.test"]}],
        }));
        let value = serde_json::to_value(config.unwrap()).unwrap();
        assert_eq!((&value["admin_address"], &value["x509_svid_ttl"]), (&json!("127.0.0.1:1"), &json!("1h30m")));
        assert_eq!(serde_json::to_value(load(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn each_mistake_is_named_with_its_key() {
        let entry = |field: &str, value: serde_json::Value| {
            let mut entry = json!({"spiffe_id_path": "/x", "selectors": ["unix:uid:1"]});
            entry[field] = value;
            json!({"trust_domain": "a.test", "entries": [entry]})
        };
        let table = [
            (json!({}), "trust_domain"),
            (json!({"trust_domain": "A.test"}), "'A'"),
            (json!({"trust_domain": "a.test", "x509_svid_ttl": "soon"}), "soon"),
            (json!({"trust_domain": "a.test", "x509_svid_ttl": "0s"}), "x509_svid_ttl"),
            (json!({"trust_domain": "a.test", "ca_ttl": "2h"}), "ca_ttl"),
            (json!({"trust_domain": "a.test", "jwt_key_ttl": "10m"}), "jwt_key_ttl"),
            (json!({"trust_domain": "a.test", "colour": "red"}), "colour"),
            (json!({"trust_domain": "a.test", "sds": {"default_bundle_name": "default"}}), "\"default\""),
            (entry("selectors", json!([])), "entries[0].selectors"),
            (entry("selectors", json!(["uid=1"])), "uid=1"),
            (entry("selectors", json!(["unix:uid:1", "unix:pth:/x"])), "entries[0].selectors: unix:pth:/x: unix selectors have no key"),
            (entry("selectors", json!(["path:/x"])), "did you mean unix:path:/x?"),
            (entry("spiffe_id_path", json!("/spire/server")), "entries[0].spiffe_id_path"),
            (entry("spiffe_id_path", json!("x")), "entries[0].spiffe_id_path"),
            (entry("federates_with", json!(["a.test"])), "entries[0].federates_with"),
            (entry("dns_names", json!(["*.x"])), "*.x"),
        ];
        for (value, expected) in table {
            let error = load(&value).expect_err(&value.to_string());
            assert!(error.contains(expected), "{value}: {error}");
        }
    }
}
