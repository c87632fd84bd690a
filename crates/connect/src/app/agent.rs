//! Agents: how one joins, and how it is known afterwards.
//!
//! ```text
//!  user ── CreateAgentJoinToken(zone, cluster) ──> secret, once; its hash is kept
//!  agent ── RegisterAgent(secret, zone, cluster, bundle) ──> the token is used up; the bundle is the zone's, where
//!           the zone has none
//!  agent ── X.509-SVID, verified with that bundle ──> everything else
//! ```

use cofide_core::{
    Agent, AgentId, AgentIdentity, AgentStatus, Bundle, Change, Cluster, ClusterId, EntityKind, EventKind, JoinToken, JoinTokenHash,
    JoinTokenSecret, SpiffeId, Timestamp, TrustZone, TrustZoneId, UnmetCondition, one_line,
};
use cofide_store::{
    AgentFilter, Agents, AgentsMut, ClusterFilter, Clusters, JoinTokenUse, JoinTokens, JoinTokensMut, TrustZoneFilter, TrustZones,
    TrustZonesMut, WriteTransaction,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::App;
use super::audit::{event, now};
use super::bundle::{self, Origin};
use super::{cluster, trust_zone};
use crate::caller::{CallContext, JoinedAgent};
use crate::error::{Error, Result};
use crate::id;

/// How an agent introduces itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    pub agent_id: Option<AgentId>,
    pub trust_zone_id: TrustZoneId,
    pub cluster_id: ClusterId,
    pub token: JoinTokenSecret,
    /// Of the agent's trust zone, as its SPIRE server has it.
    pub bundle: Bundle,
}

impl App {
    /// A secret with which the agent of one cluster can join, once. An older one for the same cluster is no longer valid.
    pub async fn create_join_token(&self, context: &CallContext, zone: &TrustZoneId, cluster: &ClusterId) -> Result<JoinTokenSecret> {
        let mut transaction = self.write().await?;
        let (zone, cluster) = referenced(&mut transaction, ["trust_zone_id", "cluster_id"], zone, cluster).await?;
        // Here and not only where the token is used: this answer is read by the person who can mend it.
        refuse_beside_nameless(&mut transaction, &zone, &cluster).await?;
        let secret = JoinTokenSecret::new(id::secret("cofide-join"));
        let created_at = now();
        let lifetime = i64::try_from(self.settings.join_token_ttl.as_micros()).unwrap_or(i64::MAX);
        let token = JoinToken {
            hash: hash(&secret),
            trust_zone_id: zone.id.clone(),
            cluster_id: cluster.id.clone(),
            expires_at: Timestamp(created_at.0.saturating_add(lifetime)),
            created_at,
        };
        transaction.put_join_token(&token).await?;
        let minutes = self.settings.join_token_ttl.as_secs().div_ceil(60);
        let message = format!(
            "join token created for the agent of cluster {} of trust zone {}: good once, within {minutes}m",
            cluster.name, zone.name
        );
        let data = json!({ "cluster_id": cluster.id, "trust_zone_id": zone.id, "join_token_expires_at": token.expires_at.as_seconds() });
        // The agent, where the token is for one that joins again.
        let held = transaction.agent_of_cluster(&cluster.id).await?;
        let links = held.iter().map(link).chain([cluster::link(&cluster), trust_zone::link(&zone)]);
        // The audit API has no word for a token; it is the first half of a registration.
        let event = event(context, EventKind::CofideAgentRegistration, message, links, &data);
        self.commit(transaction, None, event).await?;
        Ok(secret)
    }

    /// An agent joins. The token decides for which zone and cluster; the message may not say otherwise.
    ///
    /// A refused introduction leaves the token as it was, so that a mistake can be mended and tried again.
    pub async fn register_agent(&self, context: &CallContext, introduction: Introduction) -> Result<AgentId> {
        // First of all: whoever has no valid token learns nothing about zones and clusters. It does not hold up those who
        // write either, for anybody who reaches the port may try.
        let hash = hash(&introduction.token);
        usable(JoinTokenUse::of(self.read().await?.join_token(&hash).await?, now()))?;
        let mut transaction = self.write().await?;
        // Uses it up only if the transaction is committed, and somebody may have been faster.
        let token = usable(transaction.consume_join_token(&hash, now()).await?)?;
        let paths = ["agent.trust_zone_id", "agent.cluster_id"];
        let (zone, cluster) = referenced(&mut transaction, paths, &introduction.trust_zone_id, &introduction.cluster_id).await?;
        if token.trust_zone_id != zone.id || token.cluster_id != cluster.id {
            return Err(Error::PermissionDenied(format!(
                "agent_token: this join token is for another cluster than {} of trust zone {}; create one for it: cofidectl agent \
                 join-token create --trust-zone {1} --cluster {0}",
                cluster.name, zone.name
            )));
        }
        refuse_beside_nameless(&mut transaction, &zone, &cluster).await?;
        if introduction.bundle.x509_authorities.is_empty() {
            // Whoever joins brings its bundle; that of the zone may not stand in for it.
            return Err(Error::invalid("bundle.x509_authorities", "must not be empty"));
        }
        let bundle = bundle::accept(&zone, introduction.bundle, "bundle", Origin::Agent)?;

        let held = transaction.agent_of_cluster(&cluster.id).await?;
        let agent_id = match introduction.agent_id {
            Some(id) => id,
            None => held.as_ref().map_or_else(id::agent, |agent| agent.id.clone()),
        };
        if let Some(other) = transaction.agent(&agent_id).await?
            && other.cluster_id != cluster.id
        {
            return Err(Error::AlreadyExists(format!("agent.agent_id: agent {agent_id} belongs to another cluster; leave the id out")));
        }
        let agent = Agent {
            id: agent_id,
            cluster_id: cluster.id.clone(),
            trust_zone_id: zone.id.clone(),
            status: None,
            // The form that names no cluster stays in the way of other clusters until another one has been proved.
            spiffe_id: held.as_ref().filter(|agent| agent.names_no_cluster()).and_then(|agent| agent.spiffe_id.clone()),
            last_seen_at: None,
            created_at: held.as_ref().map_or_else(now, |agent| agent.created_at),
            updated_at: now(),
        };
        match held {
            Some(held) if held.id == agent.id => transaction.update_agent(&agent).await?,
            Some(held) => {
                transaction.delete_agent(&held.id).await?;
                transaction.insert_agent(&agent).await?;
            }
            None => transaction.insert_agent(&agent).await?,
        }

        let mut events = Vec::new();
        // A token decides who joins, not whom the zone trusts: only a zone without a bundle takes the first one from it.
        // What has changed since, the agent delivers with the identity that the held bundle verifies.
        let change = zone.bundle.is_none().then(|| Change::BundleOf(zone.id.clone()));
        if change.is_some() {
            let after = TrustZone { bundle: Some(bundle), updated_at: now(), ..zone.clone() };
            transaction.update_trust_zone(&after).await?;
            // An event of its own: whoever follows what happens to the zone must not miss it among the joining agents.
            events.push(bundle::new_bundle(context, &zone, &after));
        }
        let message = format!("agent of cluster {} of trust zone {} joined", cluster.name, zone.name);
        let links = [link(&agent), cluster::link(&cluster), trust_zone::link(&zone)];
        let data = json!({ "id": agent.id, "cluster_id": cluster.id, "trust_zone_id": zone.id, "bundle_changed": change.is_some() });
        events.push(event(context, EventKind::CofideAgentRegistration, message, links, &data));
        self.commit_with(transaction, change, events).await?;
        Ok(agent.id)
    }

    /// What an agent says about itself.
    pub async fn update_agent_status(&self, context: &CallContext, status: AgentStatus) -> Result<()> {
        let agent = context.agent().ok_or_else(|| Error::PermissionDenied("a status is reported by the agent itself".into()))?;
        let mut transaction = self.write().await?;
        let Some(held) = transaction.agent_of_cluster(&agent.cluster_id).await? else {
            return Err(Error::not_found("agent", &agent.id));
        };
        let status = bounded(status);
        transaction.update_agent(&Agent { status: Some(status), updated_at: now(), ..held }).await?;
        // A status is no change to anybody's configuration, and comes every few seconds: neither revision nor event.
        transaction.commit(None, Vec::new()).await?;
        Ok(())
    }

    /// The agent that speaks for a cluster of a zone, by what its certificate says: the cluster's name or, in the older
    /// form of the SPIFFE ID, nothing. The older form is enough as long as one agent of the zone has joined, which is then
    /// the one; that a second does not join beside it is seen to where it would (`refuse_beside_nameless`).
    pub async fn joined_agent(&self, id: SpiffeId, identity: &AgentIdentity) -> Result<JoinedAgent> {
        let mut transaction = self.read().await?;
        let filter = TrustZoneFilter { trust_domain: Some(identity.trust_domain.clone()), ..TrustZoneFilter::default() };
        let zone = transaction
            .trust_zones(&filter)
            .await?
            .pop()
            .ok_or_else(|| Error::Unauthenticated(format!("no trust zone has the trust domain of {id}")))?;
        let filter = ClusterFilter { trust_zone_id: Some(zone.id.clone()), ..ClusterFilter::default() };
        let clusters = transaction.clusters(&filter).await?;
        let not_joined = |cluster: &Cluster| {
            Error::PermissionDenied(format!(
                "the agent of cluster {} has not joined; create a join token for it: cofidectl agent join-token create --trust-zone {} \
                 --cluster {0}",
                cluster.name, zone.name
            ))
        };
        let (agent, cluster) = match &identity.cluster_name {
            Some(name) => {
                let Some(cluster) = clusters.into_iter().find(|cluster| cluster.name == *name) else {
                    let reason = format!("{id} names cluster {name}, and trust zone {} has no such cluster", zone.name);
                    return Err(Error::PermissionDenied(reason));
                };
                match transaction.agent_of_cluster(&cluster.id).await? {
                    Some(agent) => (agent, cluster),
                    None => return Err(not_joined(&cluster)),
                }
            }
            None => {
                let filter = AgentFilter { trust_zone_id: Some(zone.id.clone()), ..AgentFilter::default() };
                let mut agents = transaction.agents(&filter).await?;
                let joined = agents.len();
                match agents.pop() {
                    // One that has told its cluster's name does not forget it: whoever does not know the name is somebody else,
                    // such as the agent of a cluster that was deleted.
                    Some(agent) if joined == 1 && (agent.spiffe_id.is_none() || agent.names_no_cluster()) => {
                        let cluster = clusters.into_iter().find(|cluster| cluster.id == agent.cluster_id);
                        (agent, cluster.expect("an agent goes with its cluster, and both are read in one transaction"))
                    }
                    None if clusters.len() == 1 => return Err(not_joined(&clusters[0])),
                    _ => {
                        return Err(Error::PermissionDenied(format!(
                            "{id} names no cluster, and of the {joined} agents that have joined trust zone {}, it does not tell which one \
                             this is; the agent's SPIFFE ID must be spiffe://{}/cluster/<cluster>/ns/cofide/sa/cofide-agent",
                            zone.name, zone.trust_domain
                        )));
                    }
                }
            }
        };
        drop(transaction);
        if agent.spiffe_id.as_ref() != Some(&id) {
            self.note_spiffe_id(&agent.id, &id).await?;
        }
        Ok(JoinedAgent {
            id: agent.id,
            spiffe_id: id,
            trust_zone_id: zone.id,
            trust_domain: zone.trust_domain,
            cluster_id: cluster.id,
            cluster_name: cluster.name,
        })
    }

    /// Written down at once and not with the signs of life: who may join beside the agent depends on it.
    async fn note_spiffe_id(&self, agent: &AgentId, id: &SpiffeId) -> Result<()> {
        let mut transaction = self.write().await?;
        let Some(held) = transaction.agent(agent).await? else { return Ok(()) };
        transaction.update_agent(&Agent { spiffe_id: Some(id.clone()), last_seen_at: Some(now()), ..held }).await?;
        transaction.commit(None, Vec::new()).await?;
        Ok(())
    }
}

/// What is kept of an agent's words.
fn bounded(status: AgentStatus) -> AgentStatus {
    let words = |text: &str| one_line(text, Agent::LONGEST_WORDS);
    let unmet = status.unmet_conditions.into_iter().take(AgentStatus::MOST_UNMET_CONDITIONS);
    let unmet = unmet.map(|condition| UnmetCondition { reason: words(&condition.reason), message: words(&condition.message), ..condition });
    AgentStatus { message: words(&status.message), unmet_conditions: unmet.collect(), ..status }
}

/// Another agent of the zone whose SPIFFE ID does not name its cluster.
pub(super) async fn nameless_beside(transaction: &mut WriteTransaction, cluster: &ClusterId, zone: &TrustZone) -> Result<Option<Cluster>> {
    let filter = AgentFilter { trust_zone_id: Some(zone.id.clone()), ..AgentFilter::default() };
    let agents = transaction.agents(&filter).await?;
    let Some(nameless) = agents.into_iter().find(|agent| agent.cluster_id != *cluster && agent.names_no_cluster()) else {
        return Ok(None);
    };
    Ok(transaction.cluster(&nameless.cluster_id).await?)
}

/// A second agent in the zone would make the SPIFFE ID of the first ambiguous, and it would be cut off, or be taken for
/// the other. So the first has to change over, and nothing that works breaks until then.
async fn refuse_beside_nameless(transaction: &mut WriteTransaction, zone: &TrustZone, cluster: &Cluster) -> Result<()> {
    let Some(first) = nameless_beside(transaction, &cluster.id, zone).await? else { return Ok(()) };
    Err(Error::FailedPrecondition(format!(
        "the agent of cluster {first} still has the SPIFFE ID spiffe://{domain}/ns/cofide/sa/cofide-agent, which does not say for which \
         cluster of trust zone {zone} it speaks; give it spiffe://{domain}/cluster/{first}/ns/cofide/sa/cofide-agent, let it connect with \
         that, and try again: then cluster {second} can have an agent too",
        first = first.name,
        second = cluster.name,
        domain = zone.trust_domain,
        zone = zone.name,
    )))
}

fn link(agent: &Agent) -> (EntityKind, String) {
    (EntityKind::CofideAgent, agent.id.to_string())
}

fn usable(found: JoinTokenUse) -> Result<JoinToken> {
    let remedy = "create a new one: cofidectl agent join-token create";
    match found {
        JoinTokenUse::Valid(token) => Ok(token),
        JoinTokenUse::Expired(_) => Err(Error::Unauthenticated(format!("agent_token: this join token has expired; {remedy}"))),
        JoinTokenUse::Unknown => Err(Error::Unauthenticated(format!(
            "agent_token: this join token is not known: mistyped, replaced by a newer one, or used already; {remedy}"
        ))),
    }
}

/// A zone and one of its clusters, as a message names them.
async fn referenced(
    transaction: &mut WriteTransaction,
    [zone_path, cluster_path]: [&str; 2],
    zone: &TrustZoneId,
    cluster: &ClusterId,
) -> Result<(TrustZone, Cluster)> {
    let Some(zone) = transaction.trust_zone(zone).await? else {
        return Err(Error::unknown_reference(zone_path, trust_zone::NOUN, zone.as_str()));
    };
    match transaction.cluster(cluster).await? {
        Some(cluster) if cluster.trust_zone_id == zone.id => Ok((zone, cluster)),
        Some(cluster) => {
            Err(Error::invalid(cluster_path, format_args!("cluster {} does not belong to trust zone {}", cluster.name, zone.name)))
        }
        None => Err(Error::unknown_reference(cluster_path, cluster::NOUN, cluster.as_str())),
    }
}

fn hash(secret: &JoinTokenSecret) -> JoinTokenHash {
    JoinTokenHash(Sha256::digest(secret.expose()).into())
}
