//! What the receipts of agents say about each federation.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cofide_api::convert::plan::FEDERATED_TRUST;
use cofide_core::{Agent, ClusterId, Federation, Receipt, ReceiptOutcome, Timestamp, TrustDomain, TrustZoneId};
use cofide_plan::{Key, Snapshot};
use cofide_store::{AgentFilter, Agents, FederationFilter, Federations, ReceiptFilter, Receipts};

use super::App;
use super::audit::now;
use crate::error::Result;
use crate::hub;
use crate::presence::Sign;

/// For so long the last word of an agent that is not connected still counts. An agent that restarts, or a control plane
/// that does, is back well within it.
pub const STALE_AFTER: Duration = Duration::from_secs(5 * 60);

/// Whether one direction of trust works, as far as the agents of the trusting zone have said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationStatus {
    pub federation: Federation,
    pub health: Health,
    /// For a person to read; empty where all is well.
    pub reason: String,
    /// The age of the proof: the last moment at which every agent of the zone was known to be there. Absent where one has
    /// never been heard of.
    pub observed_at: Option<Timestamp>,
}

/// In the order of badness: of several clusters, the worst is the zone's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Every agent of the zone that has joined holds the remote zone's present bundle.
    Healthy,
    /// The remote zone has delivered no bundle yet.
    Waiting,
    /// No agent of the zone has ever said anything, or one has not for longer than [`STALE_AFTER`].
    Unknown,
    /// An agent refused the bundle, holds an older one, or none.
    Unhealthy,
}

impl App {
    pub async fn federation_statuses(&self, filter: &FederationFilter) -> Result<Vec<FederationStatus>> {
        let mut transaction = self.read().await?;
        let federations = transaction.federations(filter).await?;
        let agents = transaction.agents(&AgentFilter::default()).await?;
        let snapshot = self.hub.snapshot();
        let mut reported = Reported::default();
        for federation in &federations {
            let of_zone = ReceiptFilter { trust_zone_id: Some(federation.trust_zone_id.clone()), ..ReceiptFilter::default() };
            if reported.zones.insert(federation.trust_zone_id.clone()) {
                reported.latest.extend(transaction.latest_receipts(&of_zone).await?);
            }
            if let Some(remote) = snapshot.trust_zone(&federation.remote_trust_zone_id) {
                let name = Some(remote.trust_domain.to_string());
                let about = ReceiptFilter { type_url: Some(FEDERATED_TRUST.to_owned()), resource_name: name, ..of_zone };
                reported.add(transaction.receipts(&about).await?);
            }
        }
        let elsewhere = self.presence.elsewhere(&mut transaction).await?;
        drop(transaction);
        let now = now();
        let sign = |agent: Agent| {
            let sign = self.presence.of(&agent, &elsewhere, now);
            (agent, sign)
        };
        let agents: Vec<_> = agents.into_iter().map(sign).collect();
        let statuses = federations.iter().map(|federation| judge(&snapshot, federation, &agents, &reported, now));
        Ok(statuses.collect())
    }
}

/// What agents have said about trust, and when they last said anything.
#[derive(Default)]
struct Reported {
    /// Those whose clusters are in `latest`.
    zones: HashSet<TrustZoneId>,
    latest: HashMap<ClusterId, Timestamp>,
    trust: HashMap<(ClusterId, String), Receipt>,
}

impl Reported {
    fn add(&mut self, about_trust: Vec<Receipt>) {
        self.trust.extend(about_trust.into_iter().map(|receipt| ((receipt.cluster_id.clone(), receipt.resource_name.clone()), receipt)));
    }

    /// The receipts stand in where the agent has not been seen by this version yet.
    fn last_seen(&self, agent: &Agent, sign: Sign) -> Option<Timestamp> {
        sign.last_seen_at.max(self.latest.get(&agent.cluster_id).copied())
    }
}

/// `agents` may be of any zone; those of the trusting zone count.
fn judge(snapshot: &Snapshot, federation: &Federation, agents: &[(Agent, Sign)], reported: &Reported, now: Timestamp) -> FederationStatus {
    let status = |health, reason: String, observed_at| FederationStatus { federation: federation.clone(), health, reason, observed_at };
    let Some(remote) = snapshot.trust_zone(&federation.remote_trust_zone_id) else {
        return status(Health::Unknown, "the remote trust zone is not known".into(), None);
    };
    if remote.bundle.is_none() {
        return status(Health::Waiting, format!("trust zone {} has not delivered its bundle yet", remote.name), None);
    }
    let agents: Vec<_> = agents.iter().filter(|(agent, _)| agent.trust_zone_id == federation.trust_zone_id).collect();
    let observed_at = agents.iter().map(|(agent, sign)| reported.last_seen(agent, *sign)).min().flatten();
    let verdicts = agents.iter().map(|(agent, sign)| aged(snapshot, agent, *sign, &remote.trust_domain, reported, now));
    match verdicts.max_by_key(|(health, _)| *health) {
        Some((health, reason)) => status(health, reason, observed_at),
        None => status(Health::Unknown, "no agent of the trust zone has joined".into(), None),
    }
}

/// What one agent has said, and what that is worth now.
fn aged(snapshot: &Snapshot, agent: &Agent, sign: Sign, remote: &TrustDomain, reported: &Reported, now: Timestamp) -> (Health, String) {
    let name = snapshot.cluster(&agent.cluster_id).map_or_else(|| agent.cluster_id.to_string(), |cluster| cluster.name.to_string());
    let (health, reason) = verdict(snapshot, &agent.cluster_id, &name, remote, reported);
    let Some(last_seen) = reported.last_seen(agent, sign).filter(|_| !sign.is_connected) else { return (health, reason) };
    let age = last_seen.age(now);
    let gone = format!("last report {}, by agent {} of cluster {name}; the agent is not connected", age.ago(), agent.id);
    match (age.as_seconds() > STALE_AFTER.as_secs().cast_signed(), reason.as_str()) {
        (true, "") => (Health::Unknown, gone),
        (true, reason) => (Health::Unknown, format!("{gone}; before that: {reason}")),
        (false, "") => (health, gone),
        (false, _) => (health, reason),
    }
}

/// What one cluster holds of the remote bundle, by its agent's last word.
fn verdict(snapshot: &Snapshot, cluster: &ClusterId, name: &str, remote: &TrustDomain, reported: &Reported) -> (Health, String) {
    let Some(receipt) = reported.trust.get(&(cluster.clone(), remote.to_string())) else {
        return match reported.latest.contains_key(cluster) {
            true => (Health::Unhealthy, "No bundle found".into()),
            false => (Health::Unknown, format!("the agent of cluster {name} has not reported yet")),
        };
    };
    let wanted = cofide_plan::resource(snapshot, cluster, &Key::Trust(remote.clone())).map(|resource| hub::version(&resource));
    match &receipt.outcome {
        ReceiptOutcome::Rejected(reason) => (Health::Unhealthy, format!("cluster {name}: {reason}")),
        ReceiptOutcome::Applied if wanted.as_ref() == Some(&receipt.version) => (Health::Healthy, String::new()),
        ReceiptOutcome::Applied => (Health::Unhealthy, "Bundles do not match".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_api::convert::plan::IMPORTED_SERVICE;
    use cofide_core::{Bundle, Cluster, Noun, Profile, TrustZone, X509Authority};

    fn zone(name: &str) -> TrustZone {
        let trust_domain = TrustDomain::new(format!("{name}.test")).unwrap();
        let authority = X509Authority { der: name.as_bytes().to_vec(), tainted: false };
        TrustZone {
            id: format!("tz-{name}").parse().unwrap(),
            organization_id: "org".parse().unwrap(),
            name: name.parse().unwrap(),
            bundle: Some(Bundle { x509_authorities: vec![authority], ..Bundle::empty(trust_domain.clone()) }),
            trust_domain,
            bundle_endpoint: None,
            jwt_issuer: None,
            is_management_zone: false,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn cluster(name: &str) -> Cluster {
        Cluster {
            id: format!("cl-{name}").parse().unwrap(),
            organization_id: "org".parse().unwrap(),
            trust_zone_id: "tz-a".parse().unwrap(),
            name: name.parse().unwrap(),
            profile: Profile::Host,
            kubernetes_context: None,
            external_server: false,
            oidc_issuer_url: None,
            oidc_issuer_ca_cert: None,
            trust_provider: None,
            extra_helm_values: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn federation() -> Federation {
        Federation {
            id: "fd".parse().unwrap(),
            organization_id: "org".parse().unwrap(),
            trust_zone_id: "tz-a".parse().unwrap(),
            remote_trust_zone_id: "tz-b".parse().unwrap(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn agent(cluster: &str) -> Agent {
        Agent {
            id: format!("ag-{cluster}").parse().unwrap(),
            cluster_id: format!("cl-{cluster}").parse().unwrap(),
            trust_zone_id: "tz-a".parse().unwrap(),
            status: None,
            spiffe_id: None,
            last_seen_at: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    /// Zone a, with clusters one and two, trusts zone b.
    fn world() -> Snapshot {
        let nouns: [Noun; 5] = [zone("a").into(), zone("b").into(), cluster("one").into(), cluster("two").into(), federation().into()];
        nouns.into_iter().collect()
    }

    fn receipt(cluster: &str, type_url: &str, resource_name: &str, version: &str, at: i64) -> Receipt {
        Receipt {
            agent_id: agent(cluster).id,
            cluster_id: agent(cluster).cluster_id,
            type_url: type_url.into(),
            resource_name: resource_name.into(),
            version: version.into(),
            outcome: ReceiptOutcome::Applied,
            at: Timestamp(at),
        }
    }

    fn current() -> String {
        let key = Key::Trust(TrustDomain::new("b.test").unwrap());
        hub::version(&cofide_plan::resource(&world(), &"cl-one".parse().unwrap(), &key).unwrap())
    }

    const NOW: Timestamp = Timestamp(3_600_000_000);

    /// With agents that are there.
    fn judged(agents: &[Agent], receipts: &[Receipt]) -> (Health, String, Option<Timestamp>) {
        let sign = Sign { is_connected: true, last_seen_at: Some(NOW) };
        judged_by(&agents.iter().map(|agent| (agent.clone(), sign)).collect::<Vec<_>>(), receipts)
    }

    fn judged_by(agents: &[(Agent, Sign)], receipts: &[Receipt]) -> (Health, String, Option<Timestamp>) {
        let mut reported = Reported::default();
        for receipt in receipts {
            let latest = reported.latest.entry(receipt.cluster_id.clone()).or_insert(receipt.at);
            *latest = receipt.at.max(*latest);
        }
        reported.add(receipts.iter().filter(|receipt| receipt.type_url == FEDERATED_TRUST).cloned().collect());
        let status = judge(&world(), &federation(), agents, &reported, NOW);
        (status.health, status.reason, status.observed_at)
    }

    #[test]
    fn a_federation_is_as_healthy_as_the_worst_of_its_clusters() {
        let (one, two) = (agent("one"), agent("two"));
        let good = |cluster, at| receipt(cluster, FEDERATED_TRUST, "b.test", &current(), at);
        let old = |cluster, at| receipt(cluster, FEDERATED_TRUST, "b.test", "old", at);
        let refused = |at| Receipt { outcome: ReceiptOutcome::Rejected("disk full".into()), ..good("two", at) };
        let both = [one.clone(), two];
        assert_eq!(judged(&[], &[]).0, Health::Unknown);
        assert_eq!(judged(std::slice::from_ref(&one), &[good("one", 7)]), (Health::Healthy, String::new(), Some(NOW)));
        assert_eq!(judged(std::slice::from_ref(&one), &[good("one", 7), old("two", 8)]).0, Health::Healthy, "cluster two has no agent");
        assert_eq!(judged(&both, &[good("one", 7)]).0, Health::Unknown);
        assert_eq!(judged(&both, &[good("one", 7), good("two", 5)]), (Health::Healthy, String::new(), Some(NOW)));
        assert_eq!(judged(&both, &[good("one", 7), old("two", 5)]).1, "Bundles do not match");
        assert_eq!(judged(&both, &[old("one", 7)]).0, Health::Unhealthy, "what is known to be bad outweighs what is not known");
        assert_eq!(judged(&both, &[good("one", 7), refused(9)]).1, "cluster two: disk full");
    }

    #[test]
    fn an_agent_that_reports_other_things_but_no_bundle_has_none() {
        let other = receipt("one", IMPORTED_SERVICE, "server.demo.b.test", "1", 3);
        let judged = judged(&[agent("one")], &[other]);
        assert_eq!(judged, (Health::Unhealthy, "No bundle found".into(), Some(NOW)));
    }

    #[test]
    fn an_agent_that_is_gone_proves_nothing_after_a_while_and_its_last_word_ages() {
        let one = agent("one");
        let good = [receipt("one", FEDERATED_TRUST, "b.test", &current(), 7)];
        let gone_for = |seconds: i64| {
            let last_seen_at = Some(Timestamp(NOW.0 - seconds * 1_000_000));
            judged_by(&[(one.clone(), Sign { is_connected: false, last_seen_at })], &good)
        };
        let said = |ago: &str| format!("last report {ago} ago, by agent ag-one of cluster one; the agent is not connected");
        let at = |seconds: i64| Some(Timestamp(NOW.0 - seconds * 1_000_000));
        assert_eq!(gone_for(40), (Health::Healthy, said("40s"), at(40)), "it may come back");
        assert_eq!(gone_for(7 * 60), (Health::Unknown, said("7m"), at(7 * 60)));
        let bad = [receipt("one", FEDERATED_TRUST, "b.test", "old", 7)];
        let sign = Sign { is_connected: false, last_seen_at: at(7 * 60) };
        let (health, reason, _) = judged_by(&[(one.clone(), sign)], &bad);
        assert_eq!((health, reason), (Health::Unknown, format!("{}; before that: Bundles do not match", said("7m"))));
        let there = Sign { is_connected: true, last_seen_at: Some(NOW) };
        let both = [(one.clone(), sign), (agent("two"), there)];
        let good = [good[0].clone(), receipt("two", FEDERATED_TRUST, "b.test", &current(), 7)];
        assert_eq!(judged_by(&both, &good).0, Health::Unknown, "of several clusters, the worst is the zone's");
    }

    #[test]
    fn without_a_sign_of_life_the_receipts_are_the_last_one() {
        let never = Sign { is_connected: false, last_seen_at: None };
        let good = [receipt("one", FEDERATED_TRUST, "b.test", &current(), NOW.0 - 60_000_000)];
        let (health, reason, at) = judged_by(&[(agent("one"), never)], &good);
        assert_eq!((health, at), (Health::Healthy, Some(good[0].at)));
        assert!(reason.starts_with("last report 1m ago"), "{reason}");
        assert_eq!(judged_by(&[(agent("one"), never)], &[]).1, "the agent of cluster one has not reported yet");
    }
}
