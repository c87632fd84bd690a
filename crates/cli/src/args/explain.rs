//! `cofidectl explain`

use std::str::FromStr;

use clap::Args;
use cofide_core::Hostname;

#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Where the client is: a trust zone or, with /CLUSTER, one of its clusters; names or ids
    #[arg(long, value_name = "ZONE[/CLUSTER]")]
    pub from: Client,
    /// The hostname of the federated service that the client wants to reach
    #[arg(long, value_name = "HOSTNAME", value_parser = hostname)]
    pub to: Hostname,
}

/// A trust zone, and perhaps a cluster of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub trust_zone: String,
    pub cluster: Option<String>,
}

impl FromStr for Client {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (zone, cluster) = match text.split_once('/') {
            Some((zone, cluster)) => (zone, Some(cluster)),
            None => (text, None),
        };
        if zone.is_empty() || cluster.is_some_and(|cluster| cluster.is_empty() || cluster.contains('/')) {
            return Err(format!("{text:?} is neither a trust zone nor a trust zone and a cluster, as in trust-zone-b/cluster-b"));
        }
        Ok(Self { trust_zone: zone.to_owned(), cluster: cluster.map(str::to_owned) })
    }
}

fn hostname(text: &str) -> Result<Hostname, String> {
    text.parse().map_err(|error| format!("a hostname {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_zone_or_a_cluster_of_it() {
        let client = |zone: &str, cluster: Option<&str>| Ok(Client { trust_zone: zone.into(), cluster: cluster.map(str::to_owned) });
        assert_eq!("trust-zone-b".parse::<Client>(), client("trust-zone-b", None));
        assert_eq!("trust-zone-b/cluster-b".parse::<Client>(), client("trust-zone-b", Some("cluster-b")));
        for bad in ["", "/", "a/", "/b", "a/b/c"] {
            assert!(bad.parse::<Client>().unwrap_err().contains("as in trust-zone-b/cluster-b"), "{bad:?}");
        }
    }
}
