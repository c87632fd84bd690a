//! Which agents are there, and when each was last heard of.
//!
//! A receipt proves what an agent held when it spoke; whether it is still so is proved by the agent being there. Every
//! call with an agent's certificate is a sign of life, and an open plan stream is one for as long as it lasts (a peer
//! that is gone without a word is noticed by the pings of HTTP/2).
//!
//! Signs of life are kept in memory and written down once a minute, for the time after a restart. Where several replicas
//! share a database ([`Presence::share`]), each also writes down at once which agents follow their plan there: an agent
//! follows at one of them, and whoever asks may ask another.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofide_core::{Agent, AgentId, ClusterId, Timestamp};
use cofide_runtime::Chain;
use cofide_store::{Agents, AgentsMut, REPLICA_COUNTS_FOR, Reader, ReplicasMut, Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::caller::JoinedAgent;
use crate::id;

/// How many agents are written down in one transaction, so that nobody waits long behind it.
const BATCH: usize = 256;

/// How often a replica says that it is there: twice may fail.
const SAY_EVERY: Duration = Duration::from_secs(REPLICA_COUNTS_FOR.as_secs() / 3);

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Presence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    known: Mutex<HashMap<ClusterId, Seen>>,
    /// Which one this is.
    replica: String,
    /// A stream has begun or ended.
    streams: Notify,
}

impl Default for Inner {
    fn default() -> Self {
        Self { known: Mutex::default(), replica: id::replica(), streams: Notify::new() }
    }
}

/// The agents that follow their plan at another replica.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere(BTreeSet<AgentId>);

#[derive(Clone, Debug)]
struct Seen {
    agent_id: AgentId,
    last_seen_at: Timestamp,
    streams: usize,
    /// The sign of life that is in the database already.
    saved_at: Option<Timestamp>,
}

/// What is known of one agent at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Whether a plan stream of the agent is open.
    pub is_connected: bool,
    /// The moment itself where it is connected; absent where it has never been heard of.
    pub last_seen_at: Option<Timestamp>,
}

impl Presence {
    /// The agent has called.
    pub fn seen(&self, agent: &JoinedAgent, now: Timestamp) {
        self.update(agent, now, |_| ());
    }

    pub fn stream_began(&self, agent: &JoinedAgent, now: Timestamp) {
        self.update(agent, now, |seen| seen.streams += 1);
        self.0.streams.notify_one();
    }

    pub fn stream_ended(&self, agent: &JoinedAgent, now: Timestamp) {
        self.update(agent, now, |seen| seen.streams = seen.streams.saturating_sub(1));
        self.0.streams.notify_one();
    }

    fn update(&self, agent: &JoinedAgent, now: Timestamp, change: impl FnOnce(&mut Seen)) {
        let mut known = self.lock();
        let unseen = || Seen { agent_id: agent.id.clone(), last_seen_at: now, streams: 0, saved_at: None };
        let seen = known.entry(agent.cluster_id.clone()).or_insert_with(unseen);
        // One that has joined anew under another id takes the place of the one before.
        seen.agent_id.clone_from(&agent.id);
        seen.last_seen_at = now.max(seen.last_seen_at);
        change(seen);
    }

    /// What others on the same database know.
    pub async fn elsewhere(&self, transaction: &mut impl Reader) -> Result<Elsewhere, StoreError> {
        Ok(Elsewhere(transaction.agents_followed_elsewhere(&self.0.replica).await?))
    }

    /// `agent` as the database has it, which says what was before this process.
    pub fn of(&self, agent: &Agent, elsewhere: &Elsewhere, now: Timestamp) -> Sign {
        match self.lock().get(&agent.cluster_id) {
            Some(seen) if seen.streams > 0 => Sign { is_connected: true, last_seen_at: Some(now) },
            _ if elsewhere.0.contains(&agent.id) => Sign { is_connected: true, last_seen_at: Some(now) },
            Some(seen) => Sign { is_connected: false, last_seen_at: agent.last_seen_at.max(Some(seen.last_seen_at)) },
            None => Sign { is_connected: false, last_seen_at: agent.last_seen_at },
        }
    }

    /// Writes down what has not been written yet, and forgets agents that are gone.
    pub async fn save(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let news: Vec<(ClusterId, AgentId, Timestamp)> = self
            .lock()
            .iter_mut()
            .filter_map(|(cluster, seen)| {
                if seen.streams > 0 {
                    seen.last_seen_at = now;
                }
                (seen.saved_at != Some(seen.last_seen_at)).then(|| (cluster.clone(), seen.agent_id.clone(), seen.last_seen_at))
            })
            .collect();
        for batch in news.chunks(BATCH) {
            let mut transaction = store.begin_write().await?;
            let mut gone = Vec::new();
            for (cluster, id, at) in batch {
                match transaction.agent(id).await? {
                    // Another replica may have heard of it later.
                    Some(agent) => transaction.update_agent(&Agent { last_seen_at: agent.last_seen_at.max(Some(*at)), ..agent }).await?,
                    None => gone.push(cluster),
                }
            }
            transaction.commit(None, Vec::new()).await?;
            let mut known = self.lock();
            for (cluster, _, at) in batch {
                if let Some(seen) = known.get_mut(cluster) {
                    seen.saved_at = Some(*at);
                }
            }
            known.retain(|cluster, seen| seen.streams > 0 || !gone.contains(&cluster));
        }
        Ok(())
    }

    /// Tells the others which agents follow their plan here, until `stop`.
    pub async fn share(self, store: Store, stop: CancellationToken) {
        let mut told = BTreeSet::new();
        let mut is_failing = false;
        loop {
            match self.tell(&store, &mut told).await {
                Ok(()) => is_failing = false,
                Err(error) if std::mem::replace(&mut is_failing, true) => tracing::debug!(error = %Chain(&error), "still not told"),
                Err(error) => tracing::warn!(error = %Chain(&error), "the other replicas do not know which agents are here"),
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.0.streams.notified() => {}
                () = tokio::time::sleep(SAY_EVERY) => {}
            }
        }
        let end = async {
            let mut transaction = store.begin_write().await?;
            transaction.delete_replica(&self.0.replica).await?;
            transaction.commit(None, Vec::new()).await
        };
        if let Err(error) = end.await {
            tracing::debug!(error = %Chain(&error), "the other replicas find out by themselves that this one has ended");
        }
    }

    /// `told` is what they have been told before.
    async fn tell(&self, store: &Store, told: &mut BTreeSet<AgentId>) -> Result<(), StoreError> {
        let here: BTreeSet<AgentId> = {
            let known = self.lock();
            known.values().filter(|seen| seen.streams > 0).map(|seen| seen.agent_id.clone()).collect()
        };
        let mut transaction = store.begin_write().await?;
        if transaction.put_replica(&self.0.replica).await? {
            told.clear();
        }
        transaction.purge_replicas().await?;
        for agent in here.difference(told) {
            // One that was deleted meanwhile will be cut.
            if transaction.agent(agent).await?.is_some() {
                transaction.put_agent_stream(&self.0.replica, agent).await?;
            }
        }
        for agent in told.difference(&here) {
            transaction.delete_agent_stream(&self.0.replica, agent).await?;
        }
        transaction.commit(None, Vec::new()).await?;
        *told = here;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterId, Seen>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cofide_core::{SpiffeId, TrustDomain};

    pub(crate) fn joined(cluster: &str) -> JoinedAgent {
        JoinedAgent {
            id: format!("ag-{cluster}").parse().unwrap(),
            spiffe_id: SpiffeId::new(format!("spiffe://a.test/cluster/{cluster}/ns/cofide/sa/cofide-agent")).unwrap(),
            trust_zone_id: "tz-a".parse().unwrap(),
            trust_domain: TrustDomain::new("a.test").unwrap(),
            cluster_id: format!("cl-{cluster}").parse().unwrap(),
            cluster_name: cluster.parse().unwrap(),
        }
    }

    fn stored(cluster: &str, last_seen_at: Option<Timestamp>) -> Agent {
        let JoinedAgent { id, trust_zone_id, cluster_id, .. } = joined(cluster);
        let created_at = Timestamp(0);
        Agent { id, cluster_id, trust_zone_id, status: None, spiffe_id: None, last_seen_at, created_at, updated_at: created_at }
    }

    #[test]
    fn an_agent_is_there_while_a_stream_is_open_and_was_last_seen_when_the_last_one_ended() {
        let presence = Presence::default();
        let one = joined("one");
        let sign = |now| presence.of(&stored("one", Some(Timestamp(1))), &Elsewhere::default(), Timestamp(now));
        assert_eq!(sign(5), Sign { is_connected: false, last_seen_at: Some(Timestamp(1)) }, "as it is written down");
        presence.stream_began(&one, Timestamp(10));
        // A reconnect may overlap with the stream that it replaces.
        presence.stream_began(&one, Timestamp(20));
        presence.stream_ended(&one, Timestamp(30));
        assert_eq!(sign(99), Sign { is_connected: true, last_seen_at: Some(Timestamp(99)) });
        presence.stream_ended(&one, Timestamp(100));
        assert_eq!(sign(200), Sign { is_connected: false, last_seen_at: Some(Timestamp(100)) });
        presence.seen(&one, Timestamp(150));
        assert_eq!(sign(200).last_seen_at, Some(Timestamp(150)), "a call is a sign of life as well");
        let of_two = presence.of(&stored("two", None), &Elsewhere::default(), Timestamp(200));
        assert_eq!(of_two, Sign { is_connected: false, last_seen_at: None });
    }
}
