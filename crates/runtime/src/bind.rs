//! Listening at an address, and what to say where that fails.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

/// Why nobody can listen at an address: which one, for what, the reason and the way out, all in its own text.
///
/// The error of the operating system is told with it and is no cause of its own, so that nothing is said twice.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {purpose}: {}; {}", reason(error), self.next_step())]
pub struct BindError {
    address: SocketAddr,
    purpose: String,
    error: io::Error,
    key: Option<&'static str>,
}

impl BindError {
    /// `purpose` is what the listener is for, in words that end a sentence.
    pub fn new(address: SocketAddr, purpose: impl Into<String>, error: io::Error) -> Self {
        Self { address, purpose: purpose.into(), error, key: None }
    }

    /// Names the key of the configuration that chose the address.
    #[must_use]
    pub fn with_key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    fn next_step(&self) -> String {
        let choose = match self.key {
            // A key within another is a flag of its own name as well.
            Some(key) => format!("choose another address with --{} (configuration key {key})", key.replace(['_', '.'], "-")),
            None => "choose another address".to_owned(),
        };
        match self.error.kind() {
            io::ErrorKind::AddrInUse => format!("stop that program, or {choose}"),
            io::ErrorKind::PermissionDenied if self.address.port() < 1024 => {
                format!("grant CAP_NET_BIND_SERVICE, which ports below 1024 need, or {choose}")
            }
            _ => choose,
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program has this port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "the address belongs to no interface of this machine".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not".to_owned(),
        _ => error.to_string(),
    }
}

/// Listens over TCP; port 0 takes a free port. `key` is that of the configuration.
pub async fn tcp(address: SocketAddr, purpose: &str, key: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError::new(address, purpose, error).with_key(key))
}

/// As [`tcp`], where the configuration may name no address.
pub async fn tcp_if_any(address: Option<SocketAddr>, purpose: &str, key: &'static str) -> Result<Option<TcpListener>, BindError> {
    match address {
        Some(address) => tcp(address, purpose, key).await.map(Some),
        None => Ok(None),
    }
}

/// Reads an address with its port, for `clap`: says what is missing.
pub fn argument(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => format!("add a port, as in {}", SocketAddr::new(ip, 8443)),
        Err(_) => "write an IP address and a port, as in 127.0.0.1:8443 or [::1]:8443; a name is not an address".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Chain;

    #[tokio::test]
    async fn a_taken_port_is_told_once_with_its_purpose_and_the_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = tcp(address, "xDS", "xds_address").await.unwrap_err();
        assert_eq!(
            Chain(&error).to_string(),
            format!(
                "cannot listen on {address} for xDS: another program has this port; stop that program, or choose another address with \
                 --xds-address (configuration key xds_address)"
            )
        );
    }

    #[test]
    fn an_address_without_a_port_is_told_how_to_get_one() {
        for (text, expected) in [
            ("127.44.0.1", "add a port, as in 127.44.0.1:8443"),
            ("::1", "add a port, as in [::1]:8443"),
            ("[::1]", "add a port, as in [::1]:8443"),
            ("localhost:8443", "write an IP address and a port"),
        ] {
            let error = argument(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(argument("[::1]:1"), Ok(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 1))));
    }

    #[test]
    fn each_reason_has_its_next_step() {
        let text =
            |kind: io::ErrorKind, port| BindError::new(SocketAddr::from(([127, 0, 0, 1], port)), "DNS over UDP", kind.into()).to_string();
        assert!(text(io::ErrorKind::PermissionDenied, 53).contains("CAP_NET_BIND_SERVICE"));
        assert!(!text(io::ErrorKind::PermissionDenied, 5353).contains("CAP_NET_BIND_SERVICE"));
        assert!(text(io::ErrorKind::AddrNotAvailable, 53).contains("no interface of this machine"));
        let other = BindError::new(SocketAddr::from(([127, 0, 0, 1], 1)), "x", io::Error::other("out of luck")).with_key("a.b_c");
        assert!(other.to_string().contains("out of luck") && other.to_string().contains("--a-b-c (configuration key a.b_c)"));
    }
}
