//! From what is known of the clusters of a zone to how a direction of trust stands. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cofide_core::{
    Agent, BundleReading, ClusterId, Federation, FoundBundle, HeldBundle, Receipt, ReceiptOutcome, Timestamp, TrustDomain, TrustZone,
    TrustZoneId,
};
use cofide_plan::{Key, Snapshot};

use crate::hub;
use crate::partners::Trouble;
use crate::presence::Sign;

/// For so long a reading still counts. An agent that restarts, or a control plane that does, is back well within it.
pub const STALE_AFTER: Duration = Duration::from_secs(5 * 60);
/// Agents read every 30 seconds: what is older than three of these is still worth something, and said to be old.
const OVERDUE_AFTER: Duration = Duration::from_secs(90);

/// In the order of badness: of several clusters, the worst is the zone's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// The SPIRE server of every cluster of the zone whose agent has joined holds the remote zone's present bundle.
    Healthy,
    /// The remote zone has delivered no bundle yet.
    Waiting,
    /// No agent of the zone has ever said what is held, or one has not for longer than [`STALE_AFTER`].
    Unknown,
    /// The SPIRE server of a cluster holds another bundle, or none.
    Unhealthy,
}

/// Whether one direction of trust works, as far as the agents of the trusting zone have seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationStatus {
    pub federation: Federation,
    pub health: Health,
    /// For a person to read; empty where all is well.
    pub reason: String,
    /// The age of the proof: the oldest of the last readings. Absent where an agent has never told of one.
    pub observed_at: Option<Timestamp>,
    /// Since when it stands so.
    pub since: Option<Timestamp>,
}

/// What one cluster holds of a remote bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    pub cluster_id: ClusterId,
    pub health: Health,
    pub reason: String,
    pub held: Option<FoundBundle>,
    /// Since when the SPIRE server holds this, or none.
    pub held_since: Option<Timestamp>,
    /// Since when `health` is what it is.
    pub since: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
}

/// What agents have said, and whether they are there.
#[derive(Debug, Default)]
pub(in crate::app) struct Evidence {
    pub(super) agents: Vec<(Agent, Sign)>,
    pub(super) readings: HashMap<ClusterId, BundleReading>,
    /// Of zones whose bundles Connect fetches.
    pub(super) troubles: BTreeMap<TrustZoneId, Trouble>,
    /// About trust.
    pub(super) receipts: HashMap<(ClusterId, String), Receipt>,
}

impl Evidence {
    pub(super) fn add_receipts(&mut self, receipts: Vec<Receipt>) {
        let keyed = receipts.into_iter().map(|receipt| ((receipt.cluster_id.clone(), receipt.resource_name.clone()), receipt));
        self.receipts.extend(keyed);
    }
}

pub(in crate::app) fn judge(snapshot: &Snapshot, federation: &Federation, evidence: &Evidence, now: Timestamp) -> FederationStatus {
    let trouble = evidence.troubles.get(&federation.remote_trust_zone_id);
    let status = |health, reason: String, observed_at, since| {
        let reason = match trouble {
            // Whatever else there is to say: what is held may be older than what the partner has.
            Some(Trouble { reason: trouble, since }) => {
                let join = if reason.is_empty() { "" } else { "; " };
                format!("{reason}{join}its bundle endpoint fails since {}: {trouble}", since.age(now))
            }
            None => reason,
        };
        FederationStatus { federation: federation.clone(), health, reason, observed_at, since }
    };
    let Some(remote) = snapshot.trust_zone(&federation.remote_trust_zone_id) else {
        return status(Health::Unknown, "the remote trust zone is not known".into(), None, None);
    };
    let clusters = clusters(snapshot, &federation.trust_zone_id, remote, federation.created_at, evidence, now);
    let observed_at = clusters.iter().map(|cluster| cluster.read_at).min().flatten();
    if remote.bundle.is_none() {
        let reason = format!("trust zone {} has not delivered its bundle yet", remote.name);
        return status(Health::Waiting, reason, observed_at, Some(federation.created_at));
    }
    let Some(worst) = clusters.iter().max_by_key(|cluster| cluster.health) else {
        return status(Health::Unknown, "no agent of the trust zone has joined".into(), None, None);
    };
    let alike = clusters.iter().filter(|cluster| cluster.health == worst.health).map(|cluster| cluster.since);
    // All have to be well for the zone to be; one that is not is enough for it not to be.
    let since = if worst.health == Health::Healthy { alike.max().flatten() } else { alike.flatten().min() };
    status(worst.health, worst.reason.clone(), observed_at, since)
}

/// What each cluster of `zone` whose agent has joined holds of the bundle of `remote`, which it is to hold since `wanted_since`.
pub(in crate::app) fn clusters(
    snapshot: &Snapshot,
    zone: &TrustZoneId,
    remote: &TrustZone,
    wanted_since: Timestamp,
    evidence: &Evidence,
    now: Timestamp,
) -> Vec<ClusterStatus> {
    let delivered = remote.bundle.as_ref().map(|bundle| (bundle.digest(), wanted_since.max(remote.updated_at)));
    let of_zone = evidence.agents.iter().filter(|(agent, _)| agent.trust_zone_id == *zone);
    let status = |(agent, sign): &(Agent, Sign)| {
        let id = &agent.cluster_id;
        let name = snapshot.cluster(id).map_or_else(|| id.to_string(), |cluster| cluster.name.to_string());
        let reading = evidence.readings.get(id);
        let held = reading.and_then(|reading| reading.bundles.get(&remote.trust_domain));
        let (health, reason, since) = match (&delivered, reading) {
            (_, None) => {
                let reason = match refusal(snapshot, id, &remote.trust_domain, evidence) {
                    Some(said) => format!("the agent of cluster {name} does not read what the SPIRE server holds; it says: {said}"),
                    None => format!("the agent of cluster {name} has not reported yet"),
                };
                (Health::Unknown, reason, None)
            }
            (None, Some(_)) => {
                (Health::Waiting, format!("trust zone {} has not delivered its bundle yet", remote.name), Some(wanted_since))
            }
            (Some((digest, delivered_at)), Some(_)) => {
                let (health, mut reason, since) = compare(digest, *delivered_at, wanted_since, held);
                if health == Health::Unhealthy
                    && let Some(said) = refusal(snapshot, id, &remote.trust_domain, evidence)
                {
                    reason = format!("{reason}; cluster {name} refused it: {said}");
                }
                (health, reason, Some(since))
            }
        };
        let (health, reason, since) = aged(agent, *sign, &name, reading, (health, reason, since), now);
        ClusterStatus {
            cluster_id: id.clone(),
            health,
            reason,
            held: held.and_then(|held| held.found.clone()),
            held_since: held.map(|held| held.since),
            since,
            read_at: reading.map(|reading| reading.read_at),
        }
    };
    of_zone.map(status).collect()
}

fn compare(
    delivered: &cofide_core::BundleDigest,
    delivered_at: Timestamp,
    wanted_since: Timestamp,
    held: Option<&HeldBundle>,
) -> (Health, String, Timestamp) {
    match held {
        None => (Health::Unhealthy, "No bundle found".into(), wanted_since),
        Some(HeldBundle { found: None, since }) => (Health::Unhealthy, "No bundle found".into(), wanted_since.max(*since)),
        Some(HeldBundle { found: Some(found), since }) if found.digest == *delivered => {
            (Health::Healthy, String::new(), wanted_since.max(*since))
        }
        Some(HeldBundle { since, .. }) => (Health::Unhealthy, "Bundles do not match".into(), delivered_at.max(*since)),
    }
}

/// What the agent said against the bundle as it is meant to have it now.
fn refusal<'e>(snapshot: &Snapshot, cluster: &ClusterId, remote: &TrustDomain, evidence: &'e Evidence) -> Option<&'e str> {
    let receipt = evidence.receipts.get(&(cluster.clone(), remote.to_string()))?;
    let wanted = hub::version(&cofide_plan::resource(snapshot, cluster, &Key::Trust(remote.clone()))?);
    match &receipt.outcome {
        ReceiptOutcome::Rejected(reason) if receipt.version == wanted => Some(reason),
        _ => None,
    }
}

type Verdict = (Health, String, Option<Timestamp>);

/// What a verdict is worth now: the older the reading, the less, and never more than it proves.
fn aged(agent: &Agent, sign: Sign, name: &str, reading: Option<&BundleReading>, verdict: Verdict, now: Timestamp) -> Verdict {
    let (health, reason, since) = verdict;
    let Some(reading) = reading else { return (health, reason, since) };
    let age = reading.read_at.age(now);
    let is_older_than = |limit: Duration| age.as_seconds() > limit.as_secs().cast_signed();
    let old = match sign.is_connected {
        false => format!("last report {}, by agent {} of cluster {name}; the agent is not connected", age.ago(), agent.id),
        true => format!("the agent of cluster {name} has last read its SPIRE server {}", age.ago()),
    };
    if is_older_than(STALE_AFTER) {
        let reason = if reason.is_empty() { old } else { format!("{old}; before that: {reason}") };
        return (Health::Unknown, reason, Some(reading.read_at));
    }
    let is_worth_a_word = !sign.is_connected || is_older_than(OVERDUE_AFTER);
    (health, if reason.is_empty() && is_worth_a_word { old } else { reason }, since)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
