//! Which agents are there, and when each was last heard of.
//!
//! A receipt proves what an agent held when it spoke; whether it is still so is proved by the agent being there. Every
//! call with an agent's certificate is a sign of life, and an open plan stream is one for as long as it lasts (a peer
//! that is gone without a word is noticed by the pings of HTTP/2).
//!
//! Signs of life are kept in memory and written down once a minute, for the time after a restart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofide_core::{Agent, AgentId, ClusterId, Timestamp};
use cofide_store::{Agents, AgentsMut, Store, StoreError};

use crate::caller::JoinedAgent;

/// How many agents are written down in one transaction, so that nobody waits long behind it.
const BATCH: usize = 256;

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Presence(Arc<Mutex<HashMap<ClusterId, Seen>>>);

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
    }

    pub fn stream_ended(&self, agent: &JoinedAgent, now: Timestamp) {
        self.update(agent, now, |seen| seen.streams = seen.streams.saturating_sub(1));
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

    /// `agent` as the database has it, which says what was before this process.
    pub fn of(&self, agent: &Agent, now: Timestamp) -> Sign {
        match self.lock().get(&agent.cluster_id) {
            Some(seen) if seen.streams > 0 => Sign { is_connected: true, last_seen_at: Some(now) },
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
                    Some(agent) => transaction.update_agent(&Agent { last_seen_at: Some(*at), ..agent }).await?,
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

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let sign = |now| presence.of(&stored("one", Some(Timestamp(1))), Timestamp(now));
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
        assert_eq!(presence.of(&stored("two", None), Timestamp(200)), Sign { is_connected: false, last_seen_at: None });
    }
}
