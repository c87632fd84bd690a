//! One of several agents of a cluster writes: the holder of a Lease (`coordination.k8s.io/v1`).
//!
//! ```text
//!  candidate ── nobody holds it, or its holder was silent for the whole duration ──> leader of a new term
//!  leader ──── renewed in time ───> leader
//!         ──── not renewed for RENEW_DEADLINE ──> nobody, as far as this agent knows
//!         ──── shutdown ──> gives the Lease back, so that the next one need not wait
//! ```
//!
//! - Clocks of different machines are never compared. A candidate measures with its own clock how long the record has not
//!   changed; what time is written in it means nothing.
//! - A leader counts from the moment *before* it asked to renew, and stops sooner than a candidate may begin. So there are
//!   never two at a time, as long as clocks run at about the same speed.
//! - [`Leadership::fenced`] ends what a leader is about when it is leader no more, in the middle of a call if need be. What a
//!   call has sent before may still arrive; it was decided by the leader of that moment.
//! - Every write names the version that it replaces, so of two candidates one loses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::published::Wake;

/// How long a silent holder keeps the Lease.
pub const LEASE_DURATION: Duration = Duration::from_secs(9);
/// How long a leader that cannot renew goes on.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(6);
/// How often a leader renews and a candidate looks.
pub const RETRY_PERIOD: Duration = Duration::from_millis(1500);
/// A holder that claims more is believed no longer than this.
const LONGEST_DURATION: Duration = Duration::from_secs(60);

/// Whether this agent is the one that writes. All clones are about the same agent.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Until when, on this machine's clock.
    until: Mutex<Until>,
    term: AtomicU64,
    changed: tokio::sync::watch::Sender<u64>,
    wakes: Mutex<Vec<Wake>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// There is no other agent.
    Always,
    Instant(Instant),
    Never,
}

impl Leadership {
    fn with(until: Until) -> Self {
        Self(Arc::new(Shared {
            until: Mutex::new(until),
            term: AtomicU64::new(1),
            changed: tokio::sync::watch::Sender::new(0),
            wakes: Mutex::default(),
        }))
    }

    /// For an agent that has no rival.
    pub fn always() -> Self {
        Self::with(Until::Always)
    }

    /// For an agent that has to be elected.
    pub fn candidate() -> Self {
        Self::with(Until::Never)
    }

    fn until(&self) -> Until {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_leader(&self) -> bool {
        match self.until() {
            Until::Always => true,
            Until::Instant(until) => Instant::now() < until,
            Until::Never => false,
        }
    }

    /// `wake` is called when this agent becomes leader, and when it has ceased to be.
    pub fn wakes(&self, wake: &Wake) {
        self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner).push(wake.clone());
    }

    /// Another number in each term of this agent.
    pub fn term(&self) -> u64 {
        self.0.term.load(Ordering::SeqCst)
    }

    /// This agent leads up to that moment, unless more is said before.
    pub fn lead_until(&self, until: Instant) {
        self.set(Until::Instant(until));
    }

    /// This agent leads no more.
    pub fn step_down(&self) {
        self.set(Until::Never);
    }

    fn set(&self, until: Until) {
        let turned = {
            let mut held = self.0.until.lock().unwrap_or_else(PoisonError::into_inner);
            let (before, now) = (*held, Instant::now());
            *held = until;
            let leads = |until| matches!(until, Until::Always) || matches!(until, Until::Instant(until) if now < until);
            if leads(until) && !leads(before) {
                self.0.term.fetch_add(1, Ordering::SeqCst);
                true
            } else {
                until == Until::Never && before != Until::Never
            }
        };
        self.0.changed.send_modify(|changes| *changes += 1);
        if turned {
            for wake in self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                wake.wake();
            }
        }
    }

    /// Waits until this agent does not lead.
    pub async fn deposed(&self) {
        let mut changed = self.0.changed.subscribe();
        loop {
            match self.until() {
                Until::Never => return,
                Until::Instant(until) if until <= Instant::now() => return,
                Until::Instant(until) => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    _ = changed.changed() => {}
                },
                Until::Always => drop(changed.changed().await),
            }
        }
    }

    /// Does `work` while this agent leads; `None` where it does not, or ceases to before the work is done.
    pub async fn fenced<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.deposed() => None,
            done = work => Some(done),
        }
    }
}

/// What there is to do about a Lease.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Another one holds it.
    Wait,
    /// Write this.
    Write(LeaseSpec),
}

/// A record of a Lease, and since when it is as it is, on this machine's clock.
#[derive(Debug)]
struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

/// Tries to hold a Lease.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    /// Tells this process from all others, also from an earlier one in the same pod.
    identity: String,
    leadership: Leadership,
    observed: Option<Observed>,
}

impl Election {
    pub fn new(client: Client, namespace: &str, name: &str, identity: String, leadership: Leadership) -> Self {
        Self { leases: Api::namespaced(client, namespace), name: name.to_owned(), identity, leadership, observed: None }
    }

    /// Takes part until `shutdown`, and gives the Lease back if it is held then.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut complaint = String::new();
        loop {
            let was_leader = self.leadership.is_leader();
            // No call may outlive the right that it is about.
            let attempt = tokio::time::timeout(RENEW_DEADLINE / 2, self.attempt());
            let outcome = tokio::select! {
                () = shutdown.cancelled() => break,
                outcome = attempt => outcome,
            };
            let error = match outcome {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the API server does not answer".to_owned(),
            };
            if !error.is_empty() && error != complaint {
                tracing::warn!(lease = self.name, error, "cannot read or renew the Lease");
            }
            complaint = error;
            match (was_leader, self.leadership.is_leader()) {
                (false, true) => tracing::info!(lease = self.name, identity = self.identity, "this agent is the leader now"),
                (true, false) => tracing::warn!(lease = self.name, identity = self.identity, "this agent is not the leader any more"),
                _ => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(RETRY_PERIOD) => {}
                // Whoever waits for the end of the term has to hear of it in time.
                () = self.leadership.deposed(), if self.leadership.is_leader() => self.leadership.step_down(),
            }
        }
        if self.leadership.is_leader() {
            // First this agent stops, then another one may begin.
            self.leadership.step_down();
            match tokio::time::timeout(RENEW_DEADLINE / 2, self.release()).await {
                Ok(Ok(())) => tracing::info!(lease = self.name, "gave the Lease back"),
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "cannot give the Lease back; it ends by itself"),
                Err(_) => tracing::warn!(lease = self.name, "cannot give the Lease back: no answer; it ends by itself"),
            }
        }
    }

    async fn attempt(&mut self) -> kube::Result<()> {
        let asked = Instant::now();
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let spec = self.claim(None);
            let lease = Lease { metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, spec: Some(spec) };
            let created = self.leases.create(&PostParams::default(), &lease).await;
            return self.written(asked, created);
        };
        let spec = lease.spec.take().unwrap_or_default();
        match self.step(spec, asked) {
            Step::Wait => {
                if self.leadership.is_leader() {
                    self.leadership.step_down();
                }
                Ok(())
            }
            Step::Write(spec) => {
                // With the version that was read: a lease that somebody else wrote meanwhile is not overwritten.
                lease.spec = Some(spec);
                lease.metadata.managed_fields = None;
                let replaced = self.leases.replace(&self.name, &PostParams::default(), &lease).await;
                self.written(asked, replaced)
            }
        }
    }

    fn written(&mut self, asked: Instant, outcome: kube::Result<Lease>) -> kube::Result<()> {
        match outcome {
            Ok(_) => {
                self.leadership.lead_until(asked + RENEW_DEADLINE);
                Ok(())
            }
            // Somebody was faster; what they wrote is seen at the next attempt.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Decides about a record that was read at `now`.
    fn step(&mut self, spec: LeaseSpec, now: Instant) -> Step {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder == self.identity || holder.is_empty() {
            return Step::Write(self.claim(Some(&spec)));
        }
        let since = match &self.observed {
            Some(observed) if observed.spec == spec => observed.since,
            _ => now,
        };
        let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let duration = Duration::from_secs(duration).clamp(LEASE_DURATION, LONGEST_DURATION);
        let step = if now.duration_since(since) >= duration { Step::Write(self.claim(Some(&spec))) } else { Step::Wait };
        self.observed = Some(Observed { spec, since });
        step
    }

    /// The record by which this agent holds the Lease.
    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let is_renewal = before.is_some_and(|before| before.holder_identity.as_ref() == Some(&self.identity));
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: before.filter(|_| is_renewal).and_then(|before| before.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if is_renewal || before.is_none() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        lease.metadata.managed_fields = None;
        self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn election() -> Election {
        // Nothing here is sent anywhere.
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(config).unwrap();
        Election::new(client, "cofide", "cofide-agent", "a".to_owned(), Leadership::candidate())
    }

    fn held_by(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(9),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        }
    }

    fn holder(step: &Step) -> Option<&str> {
        match step {
            Step::Wait => None,
            Step::Write(spec) => spec.holder_identity.as_deref(),
        }
    }

    #[tokio::test]
    async fn a_lease_that_nobody_holds_is_taken_at_once() {
        cofide_svid::install_crypto_provider();
        let mut election = election();
        let Step::Write(spec) = election.step(held_by("", 0), Instant::now()) else { panic!("waits") };
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("a"), Some(5)));
    }

    #[tokio::test]
    async fn a_holder_is_missed_when_its_record_has_not_changed_for_the_whole_duration_whatever_time_is_written_in_it() {
        cofide_svid::install_crypto_provider();
        // Clocks that are years apart, in both directions.
        for written in [0, 32_503_680_000] {
            let (mut election, start) = (election(), Instant::now());
            assert_eq!(holder(&election.step(held_by("b", written), start)), None, "a record that is new to us is a sign of life");
            assert_eq!(holder(&election.step(held_by("b", written), start + Duration::from_millis(8_900))), None);
            assert_eq!(holder(&election.step(held_by("b", written + 1), start + Duration::from_secs(9))), None, "it was renewed");
            assert_eq!(holder(&election.step(held_by("b", written + 1), start + Duration::from_secs(17))), None);
            assert_eq!(holder(&election.step(held_by("b", written + 1), start + Duration::from_secs(18))), Some("a"));
        }
    }

    #[tokio::test]
    async fn a_renewal_is_no_transition() {
        cofide_svid::install_crypto_provider();
        let mut election = election();
        let Step::Write(spec) = election.step(held_by("a", 0), Instant::now()) else { panic!("waits") };
        assert_eq!(spec.lease_transitions, Some(4));
    }

    #[tokio::test]
    async fn what_a_leader_is_about_ends_with_its_term() {
        const TERM: Duration = Duration::from_millis(500);
        const MOST_OF_IT: Duration = Duration::from_millis(300);
        let leadership = Leadership::candidate();
        assert_eq!(leadership.fenced(async { 1 }).await, None, "no leader yet");
        leadership.lead_until(Instant::now() + TERM);
        assert_eq!(leadership.fenced(async { 1 }).await, Some(1));
        assert_eq!(leadership.fenced(std::future::pending::<()>()).await, None, "the term is over");

        leadership.lead_until(Instant::now() + TERM);
        let renewed = leadership.clone();
        let work = async {
            tokio::time::sleep(MOST_OF_IT).await;
            renewed.lead_until(Instant::now() + TERM);
            tokio::time::sleep(MOST_OF_IT).await;
        };
        assert_eq!(leadership.fenced(work).await, Some(()), "a term that was renewed in time goes on");
        assert_eq!(Leadership::always().fenced(async { 1 }).await, Some(1));
    }

    #[test]
    fn a_leader_stops_before_another_one_may_begin() {
        assert!(RENEW_DEADLINE + RETRY_PERIOD < LEASE_DURATION);
        assert!(LEASE_DURATION + 2 * RETRY_PERIOD < Duration::from_secs(15), "a hand-over takes too long");
    }
}
