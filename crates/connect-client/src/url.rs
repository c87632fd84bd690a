//! Where Connect is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The port where none is given: that of HTTPS.
const DEFAULT_PORT: u16 = 443;

/// A host and a port, written `host:port`; `https://` before it and a slash behind it are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectUrl {
    host: String,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectUrlError {
    #[error("{0:?} is not an address of Connect: {1}; write it as host:port, as in connect.example.com:8443")]
    Malformed(String, &'static str),
    #[error("{0:?} asks for plain text; Connect is reached over TLS only: write it as host:port")]
    PlainText(String),
}

impl ConnectUrl {
    /// A host name or an IP address; an IPv6 address has no brackets here.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is found from the same machine only.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl FromStr for ConnectUrl {
    type Err = ConnectUrlError;

    fn from_str(text: &str) -> Result<Self, ConnectUrlError> {
        let malformed = |reason| ConnectUrlError::Malformed(text.to_owned(), reason);
        if text.starts_with("http://") {
            return Err(ConnectUrlError::PlainText(text.to_owned()));
        }
        let has_scheme = text.starts_with("https://");
        let url = if has_scheme { text.to_owned() } else { format!("https://{text}") };
        let url = url::Url::parse(&url).map_err(|_| malformed("the host or the port is not valid"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed("it holds a user name or a password"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(malformed("something follows the port"));
        }
        let host = match url.host() {
            Some(url::Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(malformed("it names no host")),
        };
        Ok(Self { host, port: url.port().unwrap_or(DEFAULT_PORT) })
    }
}

impl fmt::Display for ConnectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_enough() {
        let read = |text: &str| text.parse::<ConnectUrl>().map(|url| url.to_string());
        assert_eq!(read("127.0.0.1:8443").unwrap(), "127.0.0.1:8443");
        assert_eq!(read("https://connect.example.com:8443/").unwrap(), "connect.example.com:8443");
        assert_eq!(read("connect.example.com").unwrap(), "connect.example.com:443");
        assert_eq!(read("[::1]:8443").unwrap(), "[::1]:8443");
        assert_eq!("[::1]:8443".parse::<ConnectUrl>().unwrap().host(), "::1");
        for text in ["127.0.0.1:8443", "[::1]:8443", "connect.example.com:443"] {
            assert_eq!(text.parse::<ConnectUrl>().unwrap().to_string().parse(), text.parse::<ConnectUrl>());
        }
    }

    #[test]
    fn a_loopback_address_is_one_of_this_machine() {
        let is_loopback = |text: &str| text.parse::<ConnectUrl>().unwrap().is_loopback();
        assert!(["localhost:1", "127.0.0.2:1", "[::1]:1"].into_iter().all(is_loopback));
        assert!(!["localhost.example.com:1", "192.0.2.1:1", "[2001:db8::1]:1"].into_iter().any(is_loopback));
    }

    #[test]
    fn whatever_else_is_refused_with_the_right_form() {
        for bad in ["", ":8443", "host:port", "host:99999", "host:1/path", "host:1?x", "user:password@host:1", "a b:1"] {
            let error = bad.parse::<ConnectUrl>().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{error}");
        }
        assert!(matches!("http://127.0.0.1:8443".parse::<ConnectUrl>(), Err(ConnectUrlError::PlainText(_))));
    }
}
