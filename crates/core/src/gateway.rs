//! Where a remote client enters the cluster of a federated service.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Hostname;

/// A TCP port, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<i64> for Port {
    type Error = GatewayError;
    fn try_from(port: i64) -> Result<Self, GatewayError> {
        let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
        port.map(Self).ok_or(GatewayError::Port)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    #[error("a port is a number from 1 to 65535")]
    Port,
    #[error("unknown gateway type {0:?}; use istio-ingressgateway or istio-eastwestgateway")]
    Kind(String),
    #[error("a gateway has a hostname or an ip, not both")]
    BothAddresses,
    #[error("a gateway needs a hostname or an ip")]
    NoAddress,
    #[error("{0:?} is not an IP address")]
    Ip(String),
    #[error("the hostname {0:?} {1}")]
    Hostname(String, crate::NameError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GatewayKind {
    #[serde(rename = "istio-ingressgateway")]
    Ingress,
    #[serde(rename = "istio-eastwestgateway")]
    EastWest,
}

impl GatewayKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "istio-ingressgateway",
            Self::EastWest => "istio-eastwestgateway",
        }
    }
}

impl fmt::Display for GatewayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GatewayKind {
    type Err = GatewayError;
    fn from_str(text: &str) -> Result<Self, GatewayError> {
        [Self::Ingress, Self::EastWest].into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| GatewayError::Kind(text.to_owned()))
    }
}

/// A host name or an IP address: the type cannot hold both, nor neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayAddress {
    Hostname(Hostname),
    Ip(IpAddr),
}

impl GatewayAddress {
    /// From the two fields of the wire, of which exactly one is set; the empty string counts as unset.
    pub fn from_fields(hostname: &str, ip: &str) -> Result<Self, GatewayError> {
        match (hostname, ip) {
            ("", "") => Err(GatewayError::NoAddress),
            ("", ip) => ip.parse().map(Self::Ip).map_err(|_| GatewayError::Ip(ip.to_owned())),
            (hostname, "") => match hostname.parse() {
                Ok(name) => Ok(Self::Hostname(name)),
                Err(error) => Err(GatewayError::Hostname(hostname.to_owned(), error)),
            },
            _ => Err(GatewayError::BothAddresses),
        }
    }

    pub fn hostname(&self) -> Option<&Hostname> {
        match self {
            Self::Hostname(hostname) => Some(hostname),
            Self::Ip(_) => None,
        }
    }

    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Hostname(_) => None,
            Self::Ip(ip) => Some(*ip),
        }
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname(hostname) => hostname.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// The order (kind, address, port) is the order in which gateways are listed everywhere, so that equal sets are equal
/// lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gateway {
    pub kind: GatewayKind,
    pub address: GatewayAddress,
    pub port: Port,
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.ip() {
            Some(IpAddr::V6(ip)) => write!(f, "{} [{ip}]:{}", self.kind, self.port),
            _ => write!(f, "{} {}:{}", self.kind, self.address, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_exactly_one_of_two() {
        assert_eq!(GatewayAddress::from_fields("gw.example.com", "").unwrap().to_string(), "gw.example.com");
        assert_eq!(GatewayAddress::from_fields("", "1.2.3.4").unwrap().ip(), Some("1.2.3.4".parse().unwrap()));
        assert_eq!(GatewayAddress::from_fields("", ""), Err(GatewayError::NoAddress));
        assert_eq!(GatewayAddress::from_fields("gw.example.com", "1.2.3.4"), Err(GatewayError::BothAddresses));
        assert!(matches!(GatewayAddress::from_fields("", "1.2.3"), Err(GatewayError::Ip(_))));
        assert!(matches!(GatewayAddress::from_fields("GW", ""), Err(GatewayError::Hostname(..))));
    }

    #[test]
    fn ports_have_bounds() {
        for bad in [-1, 0, 65536, i64::MAX] {
            assert_eq!(Port::try_from(bad), Err(GatewayError::Port));
        }
        assert_eq!(Port::try_from(65535).unwrap().get(), 65535);
    }
}
