//! How often one agent may have something changed, and may ask for what is long.
//!
//! Each change is a transaction, a revision and, for a service, work in every cluster that imports it. One agent that
//! loops must not take all of that for itself, so each has an allowance (a token bucket): a burst in which it can say
//! everything that it may say at once, as after it has joined, and from then on so many a minute. An answer above the
//! allowance is RESOURCE_EXHAUSTED and says when to come back, for people in its text and for programs in
//! `grpc-retry-pushback-ms` (gRFC A6).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofide_core::ClusterId;

use crate::caller::JoinedAgent;
use crate::error::Error;

/// How many allowances are remembered; beyond that those that are full, which say nothing, are forgotten.
const REMEMBERED: usize = 4096;

/// Streams need few and are not to wait behind changes, nor these behind them. Each begins with what the agent holds,
/// which is compared with the database.
const STREAMS: Allowance = Allowance { per_minute: 60, burst: 60 };

/// An agent tells what it has read twice a minute, and whenever it has changed something: that is not to use up what it needs
/// for its services.
const READINGS: Allowance = Allowance { per_minute: 120, burst: 120 };

/// An agent reads the list of its services when it has found its way to Connect, and now and then. The list is as long as the
/// agent has made it.
const LISTS: Allowance = Allowance { per_minute: 60, burst: 60 };

/// What an allowance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Change,
    Stream,
    Reading,
    List,
}

const LIMITED: [(&str, Kind); 9] = [
    ("/proto.connect.agent_service.v1alpha1.AgentService/RegisterFederatedService", Kind::Change),
    ("/proto.connect.agent_service.v1alpha1.AgentService/UpdateFederatedService", Kind::Change),
    ("/proto.connect.agent_service.v1alpha1.AgentService/DeregisterFederatedService", Kind::Change),
    ("/proto.connect.agent_service.v1alpha1.AgentService/UpdateAgentStatus", Kind::Change),
    ("/proto.connect.trust_zone_service.v1alpha1.TrustZoneService/UpdateTrustZoneBundle", Kind::Change),
    ("/proto.connect.receipt_service.v1alpha1.ReceiptService/ReportHeldBundles", Kind::Reading),
    ("/proto.connect.agent_service.v1alpha1.AgentService/ListFederatedServices", Kind::List),
    ("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", Kind::Stream),
    ("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources", Kind::Stream),
];

#[derive(Clone, Copy, Debug)]
struct Allowance {
    per_minute: u32,
    burst: u32,
}

/// The allowances of all agents.
#[derive(Debug)]
pub struct AgentRate {
    changes: Allowance,
    buckets: Mutex<HashMap<(ClusterId, Kind), Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl AgentRate {
    /// `burst` changes at once, then `per_minute`. Neither is zero.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self { changes: Allowance { per_minute, burst }, buckets: Mutex::default() }
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// [`Error::ResourceExhausted`] where the agent has used up its allowance.
    pub fn admit(&self, agent: &JoinedAgent, path: &str, now: Instant) -> Result<(), Error> {
        let Some((_, kind)) = LIMITED.iter().find(|(limited, _)| *limited == path) else { return Ok(()) };
        let allowance = match kind {
            Kind::Change => self.changes,
            Kind::Stream => STREAMS,
            Kind::Reading => READINGS,
            Kind::List => LISTS,
        };
        let Err(wait) = self.take((agent.cluster_id.clone(), *kind), allowance, now) else { return Ok(()) };
        // In whole seconds, and never too early.
        let seconds = wait.as_secs() + 1;
        let (name, per_minute) = (&agent.cluster_name, allowance.per_minute);
        let reason = match kind {
            Kind::Change => format!(
                "the agent of cluster {name} has used up its allowance of {per_minute} changes a minute; try again in {seconds}s, or raise \
                 max_agent_changes_per_minute of cofide-connect if it has that much to say"
            ),
            Kind::Stream => {
                format!("the agent of cluster {name} opens more than {per_minute} streams a minute; try again in {seconds}s")
            }
            Kind::Reading => {
                format!("the agent of cluster {name} tells what it holds more than {per_minute} times a minute; try again in {seconds}s")
            }
            Kind::List => {
                format!("the agent of cluster {name} lists its services more than {per_minute} times a minute; try again in {seconds}s")
            }
        };
        Err(Error::ResourceExhausted { reason, retry_after: Duration::from_secs(seconds) })
    }

    /// Takes one token, or says how long it takes until there is one.
    fn take(&self, key: (ClusterId, Kind), allowance: Allowance, now: Instant) -> Result<(), Duration> {
        let per_second = f64::from(allowance.per_minute) / 60.0;
        let most = f64::from(allowance.burst);
        let filled = |bucket: &Bucket| (bucket.tokens + now.duration_since(bucket.filled).as_secs_f64() * per_second).min(most);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&key) {
            // By the smallest rate there is, so that none of another kind is forgotten too early.
            let slowest = f64::from(self.changes.per_minute.min(STREAMS.per_minute).min(READINGS.per_minute).min(LISTS.per_minute)) / 60.0;
            let most = f64::from(self.changes.burst.max(STREAMS.burst).max(READINGS.burst).max(LISTS.burst));
            buckets.retain(|_, bucket| bucket.tokens + now.duration_since(bucket.filled).as_secs_f64() * slowest < most);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: most, filled: now });
        let tokens = filled(bucket);
        bucket.filled = now;
        if tokens < 1.0 {
            bucket.tokens = tokens;
            return Err(Duration::from_secs_f64((1.0 - tokens) / per_second));
        }
        bucket.tokens = tokens - 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization;
    use crate::presence::tests::joined;

    const REGISTER: &str = "/proto.connect.agent_service.v1alpha1.AgentService/RegisterFederatedService";
    const READING: &str = "/proto.connect.receipt_service.v1alpha1.ReceiptService/ReportHeldBundles";
    const STREAM: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

    #[test]
    fn an_agent_has_its_burst_and_then_so_many_a_minute_and_takes_none_from_another() {
        let rate = AgentRate::new(60, 10);
        let start = Instant::now();
        let admitted = |cluster: &str, path: &str, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            (0..1000).filter(|_| rate.admit(&joined(cluster), path, now).is_ok()).count()
        };
        assert_eq!(admitted("one", REGISTER, 0), 10);
        assert_eq!(admitted("two", REGISTER, 0), 10, "another agent has its own");
        assert_eq!(admitted("one", STREAM, 0), 60, "and streams are not changes");
        assert_eq!(admitted("one", READING, 0), 120, "nor are readings");
        assert_eq!([admitted("one", REGISTER, 1), admitted("one", REGISTER, 4), admitted("one", REGISTER, 3600)], [1, 3, 10]);
        assert_eq!(admitted("one", "/proto.connect.agent_service.v1alpha1.AgentService/ListFederatedServices", 3600), 60);
        assert_eq!(admitted("one", "/proto.connect.agent_service.v1alpha1.AgentService/GetFederatedService", 3600), 1000);
    }

    #[test]
    fn the_refusal_says_who_how_many_and_when_to_come_back() {
        let rate = AgentRate::new(6, 1);
        let now = Instant::now();
        rate.admit(&joined("one"), REGISTER, now).unwrap();
        let Err(Error::ResourceExhausted { reason, retry_after }) = rate.admit(&joined("one"), REGISTER, now) else { panic!("admitted") };
        assert!(reason.contains("cluster one") && reason.contains("6 changes a minute") && reason.contains("in 11s"), "{reason}");
        rate.admit(&joined("one"), REGISTER, now + retry_after).expect("whoever waits as told is admitted");
    }

    #[test]
    fn what_is_limited_exists() {
        for (path, _) in LIMITED {
            assert!(authorization::access(path).is_some(), "{path}");
        }
    }
}
