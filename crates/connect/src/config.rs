//! The configuration: every key with its meaning, its default and its bounds.
//!
//! One struct serves the file, the environment and the flags (see [`crate::cli`]), so a key has one name everywhere.
//! What can be checked without touching the machine is checked in [`Config::check`], before anything is created.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use cofide_connect_client::ConnectUrl;
use cofide_core::{CONNECT_SPIFFE_ID_PATH, Name, SpiffeId, TrustDomain, parse_trust_domain};
use cofide_runtime::config::InvalidKey;
use cofide_runtime::logging::Format;
use cofide_runtime::{duration, files};
use cofide_store::ConnectionString;
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder for everything that is kept: database, keys, admin credential.
    pub data_dir: PathBuf,
    /// A PostgreSQL database in the place of the SQLite file in `data_dir`; keys are kept there too. Holds a password.
    pub sql_connection_string: Option<String>,
    /// A file that holds the same.
    pub sql_connection_string_file: Option<PathBuf>,
    /// Where users and agents connect, over TLS. Port 0 takes a free port.
    pub listen_address: SocketAddr,
    /// Where users may connect without TLS; a loopback address, or unset for nowhere.
    pub plaintext_address: Option<SocketAddr>,
    /// Health, readiness and metrics over HTTP; unset for nowhere.
    pub admin_address: Option<SocketAddr>,
    /// Where the bundles of all trust zones are served over HTTPS, `https_web`; unset for nowhere.
    pub bundle_endpoint_address: Option<SocketAddr>,
    /// The certificate chain of `bundle_endpoint_address` in PEM, the leaf first. Read again when it is renewed.
    pub bundle_endpoint_certificate_file: Option<PathBuf>,
    /// The private key of that certificate in PEM.
    pub bundle_endpoint_key_file: Option<PathBuf>,
    /// The URL below which partners find the bundles. Where set, a trust zone that is created without a bundle endpoint has
    /// `<url>/<trust zone>/bundle`.
    pub bundle_endpoint_url: Option<String>,
    /// A folder in which the bundle of each trust zone is kept as `<trust zone>/bundle`; unset for none.
    pub bundle_folder: Option<PathBuf>,
    /// The shortest time between two fetches from the bundle endpoint of a partner.
    #[serde(with = "duration")]
    pub bundle_poll_interval: Duration,
    /// The authorities with which `https_web` bundle endpoints of partners are verified, in PEM; unset for the machine's own.
    pub web_roots_file: Option<PathBuf>,
    /// `host:port` at which clients reach `listen_address`; written into the admin credential. Derived where unset.
    pub connect_url: Option<String>,
    /// Where set, `connect.`, `connect-agent.` and `xds.` before this name are names of this server.
    pub url_base: Option<String>,
    /// Further DNS names of this server, for its certificate.
    pub dns_names: Vec<String>,
    /// Further IP addresses of this server, for its certificate.
    pub ip_addresses: Vec<IpAddr>,
    /// The trust domain of the control plane itself.
    pub connect_trust_domain: String,
    /// The path of the control plane's own SPIFFE ID.
    pub connect_spiffe_id_path: String,
    /// The organization that owns what is created without naming one.
    pub organization: String,
    /// How long a join token can be used.
    #[serde(with = "duration")]
    pub join_token_ttl: Duration,
    /// How long the server's own certificate is valid; it is replaced at half of that.
    #[serde(with = "duration")]
    pub svid_ttl: Duration,
    /// How long an authority of the control plane's own trust domain is valid.
    #[serde(with = "duration")]
    pub ca_ttl: Duration,
    /// How long a client may take for its TLS handshake, and then again for its first request.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// How many connections may be open, those in their handshake included.
    pub max_connections: usize,
    /// How many of them may come from one IP address.
    pub max_connections_per_address: usize,
    /// How many federated services the agent of one cluster may have registered.
    pub max_federated_services_per_cluster: usize,
    /// How many changes the agent of one cluster may make in a minute, once it has said all that it may say at once.
    pub max_agent_changes_per_minute: u32,
    /// How long an audit event is kept.
    #[serde(with = "duration")]
    pub audit_retention: Duration,
    /// How many audit events of agents are kept. Those of everybody else go by their age alone.
    pub audit_max_events: u64,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,cofide_xds=debug`.
    pub log_level: String,
    /// `text` or `json`.
    pub log_format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "connect-data".into(),
            sql_connection_string: None,
            sql_connection_string_file: None,
            listen_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)),
            plaintext_address: None,
            admin_address: None,
            bundle_endpoint_address: None,
            bundle_endpoint_certificate_file: None,
            bundle_endpoint_key_file: None,
            bundle_endpoint_url: None,
            bundle_folder: None,
            bundle_poll_interval: Duration::from_secs(60),
            web_roots_file: None,
            connect_url: None,
            url_base: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            connect_trust_domain: "management.local".into(),
            connect_spiffe_id_path: CONNECT_SPIFFE_ID_PATH.into(),
            organization: "default".into(),
            join_token_ttl: Duration::from_secs(3600),
            svid_ttl: DAY,
            ca_ttl: 3650 * DAY,
            handshake_timeout: Duration::from_secs(10),
            max_connections: 20_000,
            max_connections_per_address: 2_000,
            max_federated_services_per_cluster: 1_000,
            max_agent_changes_per_minute: 600,
            audit_retention: 90 * DAY,
            audit_max_events: 1_000_000,
            log_level: "info".into(),
            log_format: Format::default(),
        }
    }
}

/// What [`Config::check`] has found valid, in the types that the rest of the program uses.
#[derive(Clone, Debug)]
pub struct Checked {
    pub config: Config,
    pub trust_domain: TrustDomain,
    pub spiffe_id: SpiffeId,
    pub organization: Name,
}

impl Config {
    /// Checks what needs no look at the machine.
    pub fn check(self) -> Result<Checked, InvalidKey> {
        let refuse = |key, reason: String| Err(InvalidKey::new(key, reason));
        if let Some(address) = self.plaintext_address
            && !address.ip().is_loopback()
        {
            return refuse(
                "plaintext_address",
                format!(
                    "{address} is no loopback address, and tokens must not cross a network in clear; use 127.0.0.1 or the TLS listener"
                ),
            );
        }
        for (key, file) in [
            ("bundle_endpoint_certificate_file", &self.bundle_endpoint_certificate_file),
            ("bundle_endpoint_key_file", &self.bundle_endpoint_key_file),
        ] {
            if self.bundle_endpoint_address.is_some() && file.is_none() {
                let reason = "is needed with bundle_endpoint_address: partners verify the endpoint by a certificate of the web";
                return refuse(key, reason.into());
            }
        }
        if let Some(url) = &self.bundle_endpoint_url
            && let Err(reason) = check_bundle_endpoint_url(url)
        {
            return refuse("bundle_endpoint_url", format!("{url:?} {reason}; as in https://bundles.example.com"));
        }
        let trust_domain = match parse_trust_domain(&self.connect_trust_domain) {
            Ok(trust_domain) => trust_domain,
            Err(error) => return refuse("connect_trust_domain", format!("{:?} is no trust domain: {error}", self.connect_trust_domain)),
        };
        let path = &self.connect_spiffe_id_path;
        let spiffe_id = match SpiffeId::new(format!("spiffe://{trust_domain}{path}")) {
            Ok(id) if path.starts_with('/') => id,
            Ok(_) => return refuse("connect_spiffe_id_path", format!("{path:?} must begin with a slash")),
            Err(error) => return refuse("connect_spiffe_id_path", format!("{path:?} is no SPIFFE ID path: {error}")),
        };
        let organization = match self.organization.parse() {
            Ok(name) => name,
            Err(error) => return refuse("organization", format!("{:?} is no name: it {error}", self.organization)),
        };
        if let Some(text) = &self.sql_connection_string {
            if self.sql_connection_string_file.is_some() {
                return refuse("sql_connection_string_file", "sql_connection_string is set too; leave one of them out".into());
            }
            if let Err(error) = text.parse::<ConnectionString>() {
                return refuse("sql_connection_string", error.to_string());
            }
        }
        for (key, given, least, most) in [
            ("join_token_ttl", self.join_token_ttl, Duration::from_secs(1), 30 * DAY),
            ("svid_ttl", self.svid_ttl, Duration::from_secs(60), 365 * DAY),
            ("ca_ttl", self.ca_ttl, self.svid_ttl.saturating_mul(2), 36_500 * DAY),
            ("bundle_poll_interval", self.bundle_poll_interval, Duration::from_secs(1), DAY),
            ("handshake_timeout", self.handshake_timeout, Duration::from_secs(1), Duration::from_secs(300)),
            ("audit_retention", self.audit_retention, DAY, 3650 * DAY),
        ] {
            if !(least..=most).contains(&given) {
                let [given, least, most] = [given, least, most].map(duration::format);
                return refuse(key, format!("{given} is out of bounds; use a duration from {least} to {most}"));
            }
        }
        for (key, number) in [("max_connections", self.max_connections), ("max_connections_per_address", self.max_connections_per_address)]
        {
            if number == 0 {
                return refuse(key, "0 would admit nobody; use a positive number".into());
            }
        }
        if self.max_federated_services_per_cluster == 0 {
            return refuse("max_federated_services_per_cluster", "0 would let no cluster export anything; use a positive number".into());
        }
        if self.max_agent_changes_per_minute == 0 {
            return refuse("max_agent_changes_per_minute", "0 would let no agent change anything; use a positive number".into());
        }
        if self.audit_max_events < 1_000 {
            return refuse("audit_max_events", format!("{} would keep hardly anything; use 1000 or more", self.audit_max_events));
        }
        if let Some(Err(error)) = self.connect_url.as_ref().map(|url| url.parse::<ConnectUrl>()) {
            return refuse("connect_url", error.to_string());
        }
        for (key, name) in self.url_base.iter().map(|name| ("url_base", name)).chain(self.dns_names.iter().map(|name| ("dns_names", name)))
        {
            if let Err(error) = name.parse::<cofide_core::Hostname>() {
                return refuse(key, format!("{name:?} is no DNS name: it {error}"));
            }
        }
        Ok(Checked { trust_domain, spiffe_id, organization, config: self })
    }

    /// What an agent may change at once, as after it has joined: each of its services, and as much again.
    pub fn agent_change_burst(&self) -> u32 {
        u32::try_from(self.max_federated_services_per_cluster.saturating_mul(2).saturating_add(100)).unwrap_or(u32::MAX)
    }
}

fn check_bundle_endpoint_url(url: &str) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| format!("is no URL: {error}"))?;
    match (uri.scheme_str(), uri.host(), uri.query()) {
        (Some("https"), Some(host), None) if !host.is_empty() && !url.ends_with("//") => Ok(()),
        (Some("https"), ..) => Err("must name a host and have no query".into()),
        _ => Err("must begin with https://".into()),
    }
}

impl Checked {
    /// The PostgreSQL database to use, where one is configured.
    pub fn database(&self) -> Result<Option<ConnectionString>, anyhow::Error> {
        if let Some(text) = &self.config.sql_connection_string {
            return Ok(Some(text.parse()?));
        }
        let Some(path) = &self.config.sql_connection_string_file else { return Ok(None) };
        let content = files::read_secret(path).context("cannot read the file that sql_connection_string_file names")?;
        let parsed = std::str::from_utf8(&content).map_err(anyhow::Error::from).and_then(|text| Ok(text.parse()?));
        parsed.map(Some).with_context(|| format!("{} holds no connection string", path.display()))
    }

    /// The DNS names that the server's certificate carries.
    pub fn server_dns_names(&self) -> Vec<String> {
        let mut names = vec!["localhost".to_owned()];
        if let Some(base) = &self.config.url_base {
            names.extend(["connect", "connect-agent", "xds"].map(|host| format!("{host}.{base}")));
        }
        names.extend(self.config.dns_names.iter().cloned());
        names.sort();
        names.dedup();
        names
    }

    /// The IP addresses that the server's certificate carries.
    pub fn server_ip_addresses(&self) -> Vec<IpAddr> {
        let listen = self.config.listen_address.ip();
        let mut addresses = self.config.ip_addresses.clone();
        if !listen.is_unspecified() {
            addresses.push(listen);
        }
        addresses.push(Ipv4Addr::LOCALHOST.into());
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// What clients dial, given the address that the listener really got.
    pub fn connect_url(&self, bound: SocketAddr) -> ConnectUrl {
        let url = match &self.config {
            Config { connect_url: Some(url), .. } => url.clone(),
            Config { url_base: Some(base), .. } => format!("connect.{base}:{}", bound.port()),
            _ if bound.ip().is_unspecified() => format!("localhost:{}", bound.port()),
            _ => bound.to_string(),
        };
        url.parse().expect("what was checked, a DNS name and an address each make one")
    }
}

/// The configuration file with every key at its default, commented: what `config print-default` prints.
pub const DEFAULT_FILE: &str = include_str!("default-config.yaml");

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> InvalidKey {
        let mut config = Config::default();
        change(&mut config);
        config.check().expect_err("the configuration is wrong")
    }

    #[test]
    fn the_default_is_valid_and_stays_on_loopback() {
        let checked = Config::default().check().unwrap();
        assert!(checked.config.listen_address.ip().is_loopback());
        assert_eq!(checked.spiffe_id.to_string(), "spiffe://management.local/ns/connect/sa/cofide-connect-api");
    }

    #[test]
    fn the_printed_default_is_the_default() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), DEFAULT_FILE).unwrap();
        let read: Config = cofide_runtime::config::load(Some(file.path()), &serde_json::json!({})).unwrap();
        assert_eq!(read, Config::default());
        let keys = serde_json::to_value(Config::default()).unwrap();
        for key in keys.as_object().unwrap().keys() {
            assert!(DEFAULT_FILE.contains(&format!("{key}:")), "{key} is not in the printed default");
        }
    }

    #[test]
    fn plain_text_is_refused_off_loopback() {
        let error = refused(|config| config.plaintext_address = Some("0.0.0.0:8080".parse().unwrap()));
        assert_eq!(error.key, "plaintext_address");
        assert!(error.reason.contains("0.0.0.0:8080") && error.reason.contains("127.0.0.1"), "{error}");
        let on_loopback = Config { plaintext_address: Some("[::1]:8080".parse().unwrap()), ..Config::default() };
        assert!(on_loopback.check().is_ok());
    }

    #[test]
    fn each_wrong_value_is_named_with_its_key() {
        type Change = fn(&mut Config);
        let wrong: [(&str, Change); 23] = [
            ("sql_connection_string", |config| config.sql_connection_string = Some("sqlite://connect.db".into())),
            ("sql_connection_string_file", |config| {
                config.sql_connection_string = Some("postgres://connect@db.test/cofide".into());
                config.sql_connection_string_file = Some("database".into());
            }),
            ("bundle_poll_interval", |config| config.bundle_poll_interval = Duration::ZERO),
            ("bundle_endpoint_certificate_file", |config| config.bundle_endpoint_address = Some(([127, 0, 0, 1], 0).into())),
            ("bundle_endpoint_key_file", |config| {
                config.bundle_endpoint_address = Some(([127, 0, 0, 1], 0).into());
                config.bundle_endpoint_certificate_file = Some("tls.crt".into());
            }),
            ("bundle_endpoint_url", |config| config.bundle_endpoint_url = Some("http://bundles.example.com".into())),
            ("bundle_endpoint_url", |config| config.bundle_endpoint_url = Some("https://bundles.example.com?x".into())),
            ("max_federated_services_per_cluster", |config| config.max_federated_services_per_cluster = 0),
            ("max_agent_changes_per_minute", |config| config.max_agent_changes_per_minute = 0),
            ("audit_retention", |config| config.audit_retention = Duration::ZERO),
            ("audit_max_events", |config| config.audit_max_events = 0),
            ("connect_trust_domain", |config| config.connect_trust_domain = "Management".into()),
            ("connect_spiffe_id_path", |config| config.connect_spiffe_id_path = "/a//b".into()),
            ("organization", |config| config.organization = "a b".into()),
            ("join_token_ttl", |config| config.join_token_ttl = Duration::ZERO),
            ("svid_ttl", |config| config.svid_ttl = Duration::from_secs(1)),
            ("svid_ttl", |config| config.svid_ttl = Duration::MAX),
            ("ca_ttl", |config| config.ca_ttl = Duration::from_secs(60)),
            ("handshake_timeout", |config| config.handshake_timeout = Duration::ZERO),
            ("max_connections", |config| config.max_connections = 0),
            ("connect_url", |config| config.connect_url = Some("http://connect.example.com:8443".into())),
            ("url_base", |config| config.url_base = Some("Example.com".into())),
            ("dns_names", |config| config.dns_names = vec!["a..b".into()]),
        ];
        for (key, change) in wrong {
            assert_eq!(refused(change).key, key);
        }
    }

    #[test]
    fn a_connection_string_comes_from_its_file_and_its_password_goes_nowhere() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = Config { sql_connection_string_file: Some(file.path().into()), ..Config::default() };
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            config.clone().check().unwrap().database().map_err(|error| format!("{error:#}"))
        };
        let found = read("postgres://connect:s3cret@db.test/cofide\n").unwrap().unwrap();
        assert_eq!(found.to_string(), "cofide at db.test:5432");
        let error = read("mysql://connect:s3cret@db.test/cofide").unwrap_err();
        assert!(
            error.contains(&file.path().display().to_string()) && error.contains("postgres://") && !error.contains("s3cret"),
            "{error}"
        );
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = read("postgres://connect:s3cret@db.test/cofide").unwrap_err();
        assert!(error.contains("chmod 600"), "others may read it: {error}");
        let refused = refused(|config| config.sql_connection_string = Some("mysql://connect:s3cret@db.test/cofide".into()));
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
        assert!(Config::default().check().unwrap().database().unwrap().is_none());
    }

    #[test]
    fn clients_are_told_an_address_that_they_can_dial() {
        let url = |change: fn(&mut Config), bound: &str| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap().connect_url(bound.parse().unwrap()).to_string()
        };
        assert_eq!(url(|_| {}, "127.0.0.1:8443"), "127.0.0.1:8443");
        assert_eq!(url(|_| {}, "0.0.0.0:8443"), "localhost:8443");
        assert_eq!(url(|config| config.url_base = Some("example.com".into()), "0.0.0.0:8443"), "connect.example.com:8443");
        assert_eq!(url(|config| config.connect_url = Some("c.example.com:443".into()), "0.0.0.0:8443"), "c.example.com:443");
    }
}
