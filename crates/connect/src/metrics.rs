//! What the admin port tells a scraper.
//!
//! | metric | meaning |
//! |---|---|
//! | `cofide_connect_calls_total{method, code}` | answered calls; a stream counts when it begins |
//! | `cofide_connect_revision` | the revision that agents are told of; it grows with each committed change |
//! | `cofide_connect_followed_clusters` | clusters whose agent follows its plan at this moment |
//! | `cofide_connect_connections` | open connections |

use std::fmt;

use cofide_runtime::admin;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use tonic::Code;

use crate::authorization;
use crate::connections::Connections;
use crate::hub::Hub;

/// Counts calls. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Calls(Family<Call, Counter>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: String,
    code: String,
}

impl Calls {
    /// A path that is no method's is counted under one name, so that a caller cannot make up metrics.
    pub fn count(&self, path: &str, code: Code) {
        let method = if authorization::access(path).is_some() { path } else { "unknown" };
        self.0.get_or_create(&Call { method: method.to_owned(), code: format!("{code:?}") }).inc();
    }
}

/// Read when a scraper asks.
struct Present {
    hub: Hub,
    connections: Connections,
}

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Present")
    }
}

impl Collector for Present {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let revision = i64::try_from(self.hub.snapshot().revision()).unwrap_or(i64::MAX);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("cofide_connect_revision", "The revision that agents are told of", revision),
            ("cofide_connect_followed_clusters", "Clusters whose agent follows its plan", count(self.hub.followed_clusters())),
            ("cofide_connect_connections", "Open connections", count(self.connections.count())),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Puts everything into the registry of the admin port; the answer is for the gate to count with.
pub fn register(metrics: &admin::Metrics, hub: Hub, connections: Connections) -> Calls {
    let calls = Calls::default();
    let mut registry = metrics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    registry.register("cofide_connect_calls", "Answered calls; a stream counts when it begins", calls.0.clone());
    registry.register_collector(Box::new(Present { hub, connections }));
    calls
}
