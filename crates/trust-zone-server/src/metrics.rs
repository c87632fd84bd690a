//! What the server counts; served at `/metrics` where a health address is configured.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use cofide_core::TrustDomain;
use cofide_runtime::admin;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::datastore::Content;

type ByTrustDomain<M> = Family<Vec<(&'static str, String)>, M>;

/// Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) x509_svids: Counter,
    pub(crate) jwt_svids: Counter,
    entries: Gauge,
    federated_bundles: Gauge,
    refresh_failures: ByTrustDomain<Counter>,
    last_refresh: ByTrustDomain<Gauge>,
}

impl Metrics {
    /// Under the names that people see.
    pub fn registry(&self) -> admin::Metrics {
        let mut registry = Registry::with_prefix("trust_zone_server");
        registry.register("x509_svids_issued", "X.509-SVIDs issued to workloads", self.x509_svids.clone());
        registry.register("jwt_svids_issued", "JWT-SVIDs issued to workloads", self.jwt_svids.clone());
        registry.register("entries", "Registration entries", self.entries.clone());
        registry.register("federated_bundles", "Foreign bundles that are held", self.federated_bundles.clone());
        let help = "Attempts to fetch a partner's bundle that failed";
        registry.register("federation_refresh_failures", help, self.refresh_failures.clone());
        let help = "When a partner's bundle was last fetched with success, in seconds since the Unix epoch";
        registry.register("federation_last_refresh_timestamp_seconds", help, self.last_refresh.clone());
        Arc::new(Mutex::new(registry))
    }

    pub(crate) fn observe(&self, content: &Content) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.entries.set(count(content.entries().count()));
        self.federated_bundles.set(count(content.bundles().count()));
    }

    pub(crate) fn refreshed(&self, trust_domain: &TrustDomain, is_success: bool) {
        let labels = vec![("trust_domain", trust_domain.to_string())];
        if is_success {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            self.last_refresh.get_or_create(&labels).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        } else {
            self.refresh_failures.get_or_create(&labels).inc();
        }
    }
}
