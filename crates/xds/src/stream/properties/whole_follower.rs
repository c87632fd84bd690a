//! Envoy's model in the state-of-the-world dialect.

use std::collections::{BTreeMap, BTreeSet};

use super::{FREE, Follower, Held, content, is_bad};
use crate::Rejection;
use crate::envoy::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use crate::stream::StateOfTheWorld;
use crate::type_url::{CLUSTER, ENDPOINT, LISTENER};

#[derive(Default)]
pub(super) struct WholeFollower {
    held: BTreeMap<String, Held>,
    endpoints: BTreeSet<String>,
    nonces: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
}

impl WholeFollower {
    fn request(&self, type_url: &str) -> DiscoveryRequest {
        let resource_names = if type_url == ENDPOINT { self.endpoints.iter().cloned().collect() } else { Vec::new() };
        let response_nonce = self.nonces.get(type_url).cloned().unwrap_or_default();
        DiscoveryRequest { type_url: type_url.to_owned(), resource_names, response_nonce, ..DiscoveryRequest::default() }
    }
}

impl Follower for WholeFollower {
    type Dialect = StateOfTheWorld;

    fn connect(&mut self) -> Vec<DiscoveryRequest> {
        self.nonces.clear();
        self.versions.clear();
        let mut types = vec![CLUSTER, LISTENER, FREE];
        if !self.endpoints.is_empty() {
            types.push(ENDPOINT);
        }
        types.into_iter().map(|type_url| self.request(type_url)).collect()
    }

    fn subscribe_endpoints(&mut self, name: &str) -> DiscoveryRequest {
        self.endpoints.insert(name.to_owned());
        self.request(ENDPOINT)
    }

    fn unsubscribe_endpoints(&mut self, name: &str) -> Option<DiscoveryRequest> {
        let was_wanted = self.endpoints.remove(name);
        self.held.entry(ENDPOINT.into()).or_default().remove(name);
        was_wanted.then(|| self.request(ENDPOINT))
    }

    fn receive(&mut self, response: DiscoveryResponse) -> Vec<DiscoveryRequest> {
        self.nonces.insert(response.type_url.clone(), response.nonce);
        let earlier = self.versions.insert(response.type_url.clone(), response.version_info.clone());
        assert!(response.type_url == ENDPOINT || earlier != Some(response.version_info), "the same is sent again");
        let held = self.held.entry(response.type_url.clone()).or_default();
        let mut received: Held = response
            .resources
            .iter()
            .map(|body| {
                let (name, content) = content(body);
                (name, (String::new(), content))
            })
            .collect();
        assert_eq!(received.len(), response.resources.len(), "no name twice");
        let is_bad_at_all = received.values().any(|(_, content)| is_bad(*content));
        received.retain(|_, (_, content)| !is_bad(*content));
        let mut new_clusters = Vec::new();
        if response.type_url == ENDPOINT {
            // What is missing may not have changed.
            held.extend(received.into_iter().filter(|(name, _)| self.endpoints.contains(name)));
        } else {
            // What is missing is gone; of what is bad the last good state stays.
            let named: BTreeSet<String> = response.resources.iter().map(|body| content(body).0).collect();
            held.retain(|name, _| named.contains(name));
            held.extend(received);
            if response.type_url == CLUSTER {
                new_clusters = held.keys().filter(|name| !self.endpoints.contains(*name)).cloned().collect();
            }
        }
        let mut requests: Vec<_> = new_clusters.iter().map(|name| self.subscribe_endpoints(name)).collect();
        let error_detail = is_bad_at_all.then(|| Rejection::of_all("bad").into_status());
        requests.push(DiscoveryRequest { error_detail, ..self.request(&response.type_url) });
        requests
    }

    fn held(&self, type_url: &str) -> Held {
        self.held.get(type_url).cloned().unwrap_or_default()
    }

    fn endpoints_wanted(&self) -> &BTreeSet<String> {
        &self.endpoints
    }

    fn knows_of_removed_endpoints(&self) -> bool {
        false
    }
}
