//! Random histories: whatever happens to the cache and on the wire, a client that follows ends up with what the cache
//! holds, and on the way it never has a listener without its cluster.
//!
//! The clients here are models of Envoy: they apply what they can, reject what they cannot (odd content is bad), ask for
//! the endpoints of each cluster that they get, answer late or after a reconnect.

mod delta_follower;
mod histories;
mod noise;
mod subscriptions;
mod whole_follower;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message;

use super::connection::Dialectic;
use crate::envoy::envoy::config::cluster::v3::{Cluster, cluster};
use crate::type_url::{CLUSTER, ENDPOINT, LISTENER};
use crate::{Any, Resource};

const FREE: &str = "type.googleapis.com/test.Free";
const TYPES: [&str; 4] = [CLUSTER, ENDPOINT, LISTENER, FREE];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ACK_WAIT: Duration = Duration::from_secs(5);

/// Every resource is a cluster message: what counts is its name and its content.
fn resource(type_url: &str, name: &str, content: u8) -> Resource {
    let message = Cluster {
        name: name.to_owned(),
        alt_stat_name: content.to_string(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        ..Cluster::default()
    };
    Resource::new(type_url, name, &message)
}

fn content(body: &Any) -> (String, u8) {
    let message = Cluster::decode(body.value.as_slice()).unwrap();
    (message.name, message.alt_stat_name.parse().unwrap())
}

fn is_bad(content: u8) -> bool {
    content % 2 == 1
}

type Held = BTreeMap<String, (String, u8)>;

/// A client in one of the dialects.
trait Follower: Default {
    type Dialect: Dialectic;
    /// The first requests on a new stream.
    fn connect(&mut self) -> Vec<<Self::Dialect as Dialectic>::Request>;
    fn subscribe_endpoints(&mut self, name: &str) -> <Self::Dialect as Dialectic>::Request;
    fn unsubscribe_endpoints(&mut self, name: &str) -> Option<<Self::Dialect as Dialectic>::Request>;
    /// Applies a response; answers with the acknowledgement and what else it asks for.
    fn receive(&mut self, response: <Self::Dialect as Dialectic>::Response) -> Vec<<Self::Dialect as Dialectic>::Request>;
    fn held(&self, type_url: &str) -> Held;
    fn endpoints_wanted(&self) -> &BTreeSet<String>;
    /// Whether the dialect has a way to tell that an endpoint is gone.
    fn knows_of_removed_endpoints(&self) -> bool;
}
