//! Envoy's model in the incremental dialect.

use std::collections::{BTreeMap, BTreeSet};

use super::{FREE, Follower, Held, content, is_bad};
use crate::Rejection;
use crate::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::stream::Delta;
use crate::type_url::{CLUSTER, ENDPOINT, LISTENER};

#[derive(Default)]
pub(super) struct DeltaFollower {
    held: BTreeMap<String, Held>,
    endpoints: BTreeSet<String>,
    /// What the server has sent on this stream, taken or not.
    sent: BTreeMap<(String, String), String>,
}

impl DeltaFollower {
    fn request(type_url: &str) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..DeltaDiscoveryRequest::default() }
    }

    fn claims(&self, type_url: &str) -> std::collections::HashMap<String, String> {
        self.held(type_url).into_iter().map(|(name, (version, _))| (name, version)).collect()
    }
}

impl Follower for DeltaFollower {
    type Dialect = Delta;

    fn connect(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let held = self
            .held
            .iter()
            .flat_map(|(type_url, held)| held.iter().map(|(name, (version, _))| ((type_url.clone(), name.clone()), version.clone())));
        self.sent = held.collect();
        let mut requests: Vec<_> = [CLUSTER, LISTENER, FREE]
            .into_iter()
            .map(|type_url| DeltaDiscoveryRequest { initial_resource_versions: self.claims(type_url), ..Self::request(type_url) })
            .collect();
        requests[2].resource_names_subscribe = vec!["*".into()];
        if !self.endpoints.is_empty() {
            requests.push(DeltaDiscoveryRequest {
                initial_resource_versions: self.claims(ENDPOINT),
                resource_names_subscribe: self.endpoints.iter().cloned().collect(),
                ..Self::request(ENDPOINT)
            });
        }
        requests
    }

    fn subscribe_endpoints(&mut self, name: &str) -> DeltaDiscoveryRequest {
        self.endpoints.insert(name.to_owned());
        DeltaDiscoveryRequest { resource_names_subscribe: vec![name.to_owned()], ..Self::request(ENDPOINT) }
    }

    fn unsubscribe_endpoints(&mut self, name: &str) -> Option<DeltaDiscoveryRequest> {
        self.endpoints.remove(name);
        self.held.entry(ENDPOINT.into()).or_default().remove(name);
        Some(DeltaDiscoveryRequest { resource_names_unsubscribe: vec![name.to_owned()], ..Self::request(ENDPOINT) })
    }

    fn receive(&mut self, response: DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let held = self.held.entry(response.type_url.clone()).or_default();
        for name in &response.removed_resources {
            held.remove(name);
            self.sent.remove(&(response.type_url.clone(), name.clone()));
        }
        let mut rejected = BTreeMap::new();
        let mut new_clusters = Vec::new();
        for resource in response.resources {
            let (name, content) = content(&resource.resource.unwrap());
            assert_eq!(name, resource.name);
            let earlier = self.sent.insert((response.type_url.clone(), name.clone()), resource.version.clone());
            // Endpoints are sent again when they are asked for again and when their cluster was replaced.
            assert!(response.type_url == ENDPOINT || earlier.as_ref() != Some(&resource.version), "{name} is sent again unchanged");
            if is_bad(content) {
                rejected.insert(name, "bad".to_owned());
            } else if response.type_url != ENDPOINT || self.endpoints.contains(&name) {
                if response.type_url == CLUSTER && !self.endpoints.contains(&name) {
                    new_clusters.push(name.clone());
                }
                held.insert(name, (resource.version, content));
            }
        }
        let error_detail = (!rejected.is_empty()).then(|| Rejection::of(rejected).into_status());
        let acknowledgement = DeltaDiscoveryRequest { response_nonce: response.nonce, error_detail, ..Self::request(&response.type_url) };
        let mut requests: Vec<_> = new_clusters.iter().map(|name| self.subscribe_endpoints(name)).collect();
        requests.push(acknowledgement);
        requests
    }

    fn held(&self, type_url: &str) -> Held {
        self.held.get(type_url).cloned().unwrap_or_default()
    }

    fn endpoints_wanted(&self) -> &BTreeSet<String> {
        &self.endpoints
    }

    fn knows_of_removed_endpoints(&self) -> bool {
        true
    }
}
