//! What Connect tells an agent, as it changes, for as long as the agent lives.

use std::collections::BTreeMap;
use std::time::Duration;

use cofide_api::convert::plan::TYPE_URLS;
use cofide_api::convert::plan_resource::{self, DecodeError};
use cofide_plan::PlanResource;
use cofide_runtime::Backoff;
use cofide_xds::client::{Changes, DeltaSubscription};
use cofide_xds::{Any, Node, Rejection};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

use crate::Versions;
use crate::outage::Outage;
use crate::refusal::explain;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a server may take to begin an answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// The changes of a plan. It connects by itself, again and again, each time with the versions of what was acknowledged,
/// so that only what changed meanwhile arrives.
///
/// ```no_run
/// # async fn follow(mut plan: cofide_connect_client::PlanStream) {
/// loop {
///     let changes = plan.next().await;
///     // Keep them, act on them, and only then:
///     plan.acknowledge(changes.receipt).await;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct PlanStream {
    channel: Channel,
    node: Node,
    /// What was acknowledged up to the last stream.
    held: Versions,
    subscription: Option<DeltaSubscription>,
    /// Counts streams: a nonce of one means nothing on the next.
    generation: u64,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// Since the stream is down.
    outage: Option<Outage>,
    state: watch::Sender<PlanStreamState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanStreamState {
    /// On the way, for the first time.
    Connecting,
    /// Connect has answered on the current stream.
    Connected,
    /// The last attempt failed or the stream broke; another attempt follows.
    Disconnected { reason: String },
}

/// What one response changes. What could not be decoded is not in it: Connect is told with the acknowledgement, and
/// whatever was held under these names stays good.
#[derive(Debug)]
pub struct PlanChanges {
    pub type_url: &'static str,
    pub set: Vec<ReceivedPlanResource>,
    pub removed: Vec<String>,
    /// Whether all that Connect has of this type has been told now. Before the first time, what is missing is not known to
    /// be absent.
    pub completes: bool,
    /// To be handed to [`PlanStream::acknowledge`] once the changes are in effect.
    pub receipt: PlanReceipt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedPlanResource {
    pub name: String,
    pub version: String,
    pub resource: PlanResource,
}

/// Stands for a response that has yet to be acknowledged. The default stands for none: to acknowledge it says nothing.
#[derive(Debug, Default)]
#[must_use = "Connect waits for the acknowledgement before it sends the next change"]
pub struct PlanReceipt {
    generation: u64,
    nonce: String,
    /// Reason by name.
    pub rejected: BTreeMap<String, String>,
}

impl PlanStream {
    /// `held` is what the caller has kept of an earlier stream. Connect knows the agent by its
    /// certificate; of `node` it reads in its logs who it is, and by its client features which types another agent of the
    /// cluster puts in effect ([`standby_for`](cofide_api::convert::plan::standby_for)).
    pub fn new(channel: Channel, node: Node, held: Versions) -> Self {
        Self {
            channel,
            node,
            held,
            subscription: None,
            generation: 0,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            retry_at: None,
            outage: None,
            state: watch::Sender::new(PlanStreamState::Connecting),
        }
    }

    /// How the stream is doing, for status and metrics.
    pub fn state(&self) -> watch::Receiver<PlanStreamState> {
        self.state.subscribe()
    }

    /// The next changes; waits as long as it takes, across any number of broken connections. Cancel safe.
    pub async fn next(&mut self) -> PlanChanges {
        loop {
            let outcome = match &mut self.subscription {
                Some(subscription) => subscription.next().await.and_then(|changes| changes.ok_or_else(ended)),
                None => match self.open().await {
                    Ok(()) => continue,
                    Err(status) => Err(status),
                },
            };
            match outcome {
                Ok(changes) => {
                    self.backoff.reset();
                    if let Some(outage) = self.outage.take() {
                        tracing::info!(away = ?outage.duration(Instant::now()), attempts = outage.attempts(), "the plan stream to Connect is back");
                    }
                    self.set_state(PlanStreamState::Connected);
                    if let Some(changes) = self.take_in(changes).await {
                        return changes;
                    }
                }
                Err(status) => self.disconnect(&status),
            }
        }
    }

    /// Says that changes are in effect, apart from what their receipt names as rejected. After a broken connection it
    /// says nothing: Connect sends them again.
    pub async fn acknowledge(&mut self, receipt: PlanReceipt) {
        let PlanReceipt { generation, nonce, rejected } = receipt;
        let Some(subscription) = self.subscription.as_mut().filter(|_| generation == self.generation) else { return };
        let answered = match rejected.is_empty() {
            true => subscription.ack(&nonce).await,
            false => subscription.nack(&nonce, Rejection::of(rejected)).await,
        };
        if let Err(status) = answered {
            self.disconnect(&status);
        }
    }

    async fn open(&mut self) -> Result<(), Status> {
        if let Some(retry_at) = self.retry_at {
            tokio::time::sleep_until(retry_at).await;
        }
        let opening = DeltaSubscription::open(self.channel.clone(), self.node.clone(), &TYPE_URLS, self.held.clone());
        let opened = tokio::time::timeout(OPEN_TIMEOUT, opening).await;
        self.subscription = Some(opened.map_err(|_| Status::deadline_exceeded("Connect does not answer"))??);
        self.generation += 1;
        Ok(())
    }

    /// Decodes a response; `None` for one of a type that was not asked for.
    async fn take_in(&mut self, changes: Changes) -> Option<PlanChanges> {
        let Changes { type_url, set, removed, nonce, completes_initial } = changes;
        let mut receipt = PlanReceipt { generation: self.generation, nonce, rejected: BTreeMap::new() };
        let Some(type_url) = plan_resource::known_type_url(&type_url) else {
            tracing::warn!(type_url, "Connect sends resources of a type that was not asked for; they are ignored");
            self.acknowledge(receipt).await;
            return None;
        };
        let mut decoded = Vec::new();
        for resource in set {
            let Any { type_url: of, value } = &resource.body;
            let result = if of == type_url { plan_resource::decode(of, &resource.name, value) } else { Err(DecodeError::Type(of.clone())) };
            match result {
                Ok(plan) => decoded.push(ReceivedPlanResource { name: resource.name, version: resource.version, resource: plan }),
                Err(reason) => {
                    tracing::warn!(type_url, name = resource.name, %reason, "a resource of the plan is not usable and is left out");
                    receipt.rejected.insert(resource.name, reason.to_string());
                }
            }
        }
        Some(PlanChanges { type_url, set: decoded, removed, completes: completes_initial, receipt })
    }

    fn disconnect(&mut self, status: &Status) {
        if let Some(subscription) = self.subscription.take() {
            self.held.clone_from(subscription.versions());
        }
        let wait = self.backoff.wait();
        self.retry_at = Some(Instant::now() + wait);
        let reason = explain(status);
        if Outage::failed(&mut self.outage, &reason, Instant::now()) {
            tracing::warn!(reason, retry_in = ?wait, "no plan from Connect at the moment; what is known stays in effect");
        } else {
            tracing::debug!(reason, retry_in = ?wait, "still no plan from Connect");
        }
        self.set_state(PlanStreamState::Disconnected { reason });
    }

    fn set_state(&self, state: PlanStreamState) {
        self.state.send_if_modified(|current| {
            let is_new = *current != state;
            *current = state;
            is_new
        });
    }
}

fn ended() -> Status {
    Status::unavailable("Connect ended the stream")
}

#[cfg(test)]
#[path = "plan_stream_tests.rs"]
mod tests;
