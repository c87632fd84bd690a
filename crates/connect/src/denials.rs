//! Refused calls in the audit log, bounded so that whoever is refused cannot fill the disk, nor keep out the refusals of
//! others.
//!
//! A caller that is refused over and over (a stopped agent with an expired certificate, a scanner) says the same thing
//! each time, so the same refusal is recorded once a minute. Different refusals draw on an allowance: a burst, then one
//! every so often. What was left out is counted and said in the next record.
//!
//! ```text
//!  anonymous            one allowance, a row a minute: whoever reaches the port has it
//!  join-token           one allowance, a row a minute: a guessed token costs nothing either
//!  a user               one each, a row every ten seconds
//!  spiffe://a.test/...  one each, a row every ten seconds; the names beyond the first few of a trust domain share one,
//!                       for whoever holds the domain's authority can make up names without end
//! ```

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofide_core::{Actor, AuditEvent, EventKind, Outcome, one_line};
use cofide_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::audit::{now, server_version};
use crate::authorization;
use crate::id;

const BURST: u32 = 60;
/// How long it takes until one more may be recorded, for a caller that has proved who it is.
const REFILL: Duration = Duration::from_secs(10);
/// The same for callers that have not: at most 1,440 rows a day.
const REFILL_UNPROVED: Duration = Duration::from_secs(60);
const REPEAT_AFTER: Duration = Duration::from_secs(60);
/// How many different refusals of one allowance are remembered for the sake of `REPEAT_AFTER`; more than it lets through
/// in that time.
const REMEMBERED: usize = 128;
/// How many names of one trust domain have an allowance of their own.
const NAMES: usize = 64;
/// What a path that names no method is called: the path is the caller's invention.
const UNKNOWN_METHOD: &str = "unknown method";
/// Characters of a message that are kept.
const MAX_TEXT: usize = 512;
/// How the printed name of a workload begins.
const WORKLOAD: &str = "spiffe://";

/// One refused call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Denial {
    /// [`cofide_core::Actor`] in its printed form.
    pub actor: String,
    pub source_ip: String,
    /// The gRPC method path.
    pub method: String,
    /// The message that the caller got.
    pub reason: String,
}

impl Denial {
    /// Path and message can hold whatever the caller has sent.
    fn bounded(mut self) -> Self {
        if authorization::access(&self.method).is_none() {
            UNKNOWN_METHOD.clone_into(&mut self.method);
        }
        self.reason = one_line(&self.reason, MAX_TEXT);
        self
    }

    /// Whoever draws on the same allowances: a trust domain, or a caller that is not a workload.
    fn group(&self) -> &str {
        let Some(name) = self.actor.strip_prefix(WORKLOAD) else { return &self.actor };
        let domain = name.find('/').unwrap_or(name.len());
        &self.actor[..WORKLOAD.len() + domain]
    }

    /// Of somebody who has shown no credential that holds.
    fn is_unproved(&self) -> bool {
        [Actor::Anonymous, Actor::JoinToken].iter().any(|actor| actor.to_string() == self.actor)
    }
}

/// Takes refusals from the calls and writes them in the background, so that a refusal costs its caller no transaction.
#[derive(Debug)]
pub struct Denials {
    allowances: Mutex<Allowances>,
    accepted: mpsc::Sender<(Denial, u64)>,
}

impl Denials {
    pub fn start(store: Store, tasks: &TaskTracker, shutdown: CancellationToken) -> Self {
        let (accepted, mut receiver) = mpsc::channel::<(Denial, u64)>(256);
        tasks.spawn(async move {
            loop {
                let (denial, left_out) = tokio::select! {
                    biased;
                    received = receiver.recv() => match received {
                        Some(received) => received,
                        None => return,
                    },
                    () = shutdown.cancelled() => return,
                };
                if let Err(error) = write(&store, denial, left_out).await {
                    tracing::warn!(%error, "a refused call could not be recorded in the audit log");
                }
            }
        });
        Self { allowances: Mutex::default(), accepted }
    }

    pub fn record(&self, denial: Denial) {
        let denial = denial.bounded();
        let Some(left_out) = self.allowances().take(&denial, Instant::now()) else { return };
        tracing::info!(
            actor = denial.actor,
            source_ip = denial.source_ip,
            method = denial.method,
            reason = denial.reason,
            left_out,
            "call refused"
        );
        if let Err(error) = self.accepted.try_send((denial, left_out)) {
            let (denial, left_out) = error.into_inner();
            self.allowances().of(&denial, Instant::now()).left_out += left_out + 1;
        }
    }

    fn allowances(&self) -> MutexGuard<'_, Allowances> {
        self.allowances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(store: &Store, denial: Denial, left_out: u64) -> Result<(), cofide_store::StoreError> {
    let Denial { actor, source_ip, method, reason } = denial;
    let data = serde_json::json!({ "method": method, "reason": reason, "left_out_before": left_out });
    let message = match left_out {
        0 => format!("{method} refused: {reason}"),
        _ => format!("{method} refused: {reason} (before this, {left_out} refused calls were not recorded)"),
    };
    let event = AuditEvent {
        id: id::audit_event(),
        occurred_at: now(),
        kind: EventKind::Other,
        message,
        links: Vec::new(),
        data: data.to_string(),
        actor,
        source_ip,
        outcome: Outcome::Denied,
        server_version: server_version(),
    };
    store.begin_write().await?.commit(None, vec![event]).await.map(drop)
}

/// By group, then by actor. There are as many groups as trust zones and users, and two more.
#[derive(Debug, Default)]
struct Allowances(HashMap<String, HashMap<String, Allowance>>);

impl Allowances {
    /// `Some` where the denial is to be recorded, with how many like it were left out before it.
    fn take(&mut self, denial: &Denial, now: Instant) -> Option<u64> {
        self.of(denial, now).take(denial, now)
    }

    fn of(&mut self, denial: &Denial, now: Instant) -> &mut Allowance {
        let group = self.0.entry(denial.group().to_owned()).or_default();
        if group.len() >= NAMES && !group.contains_key(&denial.actor) {
            group.retain(|_, allowance| !allowance.is_full(now));
        }
        // A trust domain is the name of no workload that is refused under it, so it stands for those beyond the number.
        let is_own = group.contains_key(&denial.actor) || group.len() < NAMES;
        let name = if is_own { denial.actor.as_str() } else { denial.group() };
        let refill = if denial.is_unproved() { REFILL_UNPROVED } else { REFILL };
        group.entry(name.to_owned()).or_insert_with(|| Allowance::new(refill, now))
    }
}

#[derive(Debug)]
struct Allowance {
    refill: Duration,
    tokens: u32,
    refilled: Instant,
    /// When a refusal was last recorded, by its hash: the refusal itself holds words of the caller.
    seen: HashMap<u64, Instant>,
    hasher: RandomState,
    left_out: u64,
}

impl Allowance {
    fn new(refill: Duration, now: Instant) -> Self {
        Self { refill, tokens: BURST, refilled: now, seen: HashMap::new(), hasher: RandomState::new(), left_out: 0 }
    }

    fn earned(&self, now: Instant) -> u64 {
        now.duration_since(self.refilled).as_secs() / self.refill.as_secs()
    }

    /// It has not been drawn on for so long that to forget it changes nothing.
    fn is_full(&self, now: Instant) -> bool {
        u64::from(self.tokens) + self.earned(now) >= u64::from(BURST)
            && self.seen.values().all(|last| now.duration_since(*last) >= REPEAT_AFTER)
    }

    fn take(&mut self, denial: &Denial, now: Instant) -> Option<u64> {
        let earned = self.earned(now);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            self.refilled = now;
        }
        let hash = self.hasher.hash_one(denial);
        let is_repeated = self.seen.get(&hash).is_some_and(|last| now.duration_since(*last) < REPEAT_AFTER);
        if is_repeated || self.tokens == 0 {
            self.left_out += 1;
            return None;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.retain(|_, last| now.duration_since(*last) < REPEAT_AFTER);
        }
        self.tokens -= 1;
        self.seen.insert(hash, now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(actor: &str, reason: &str) -> Denial {
        Denial { actor: actor.into(), source_ip: "192.0.2.1".into(), method: "/a.B/C".into(), reason: reason.into() }
    }

    #[test]
    fn the_same_refusal_is_recorded_once_a_minute_and_says_how_many_it_stands_for() {
        let start = Instant::now();
        let mut allowances = Allowances::default();
        assert_eq!(allowances.take(&denial("a", "no"), start), Some(0));
        for second in 1..60 {
            assert_eq!(allowances.take(&denial("a", "no"), start + Duration::from_secs(second)), None);
        }
        assert_eq!(allowances.take(&denial("a", "no"), start + Duration::from_secs(60)), Some(59));
    }

    #[test]
    fn a_flood_of_different_refusals_costs_a_bounded_number_of_rows() {
        let start = Instant::now();
        let day = 24 * 3600;
        for (actor, refill) in [("anonymous", REFILL_UNPROVED), ("join-token", REFILL_UNPROVED), ("spiffe://a.test/x", REFILL)] {
            let mut allowances = Allowances::default();
            let mut at = |n: u64| allowances.take(&denial(actor, &n.to_string()), start + Duration::from_secs(n));
            let recorded = (0..day).filter(|n| at(*n).is_some()).count();
            assert!(recorded as u64 <= u64::from(BURST) + day / refill.as_secs(), "{actor}: {recorded}");
            assert!(recorded > 1000, "and still tells what goes on: {recorded}");
            let seen = allowances.0[denial(actor, "").group()][actor].seen.len();
            assert!(seen <= REMEMBERED, "{seen}");
        }
    }

    #[test]
    fn no_caller_uses_up_the_allowance_of_another() {
        let now = Instant::now();
        let mut allowances = Allowances::default();
        for loud in ["anonymous", "join-token", "spiffe://a.test/loud"] {
            let recorded = (0..1000).filter(|n| allowances.take(&denial(loud, &n.to_string()), now).is_some()).count();
            assert_eq!(recorded, BURST as usize, "{loud}");
        }
        for quiet in ["admin", "spiffe://a.test/quiet", "spiffe://b.test/loud"] {
            assert_eq!(allowances.take(&denial(quiet, "no"), now), Some(0), "{quiet}");
        }
    }

    #[test]
    fn names_that_an_authority_makes_up_cost_a_bounded_number_of_rows_and_harm_no_other_trust_domain() {
        let now = Instant::now();
        let mut allowances = Allowances::default();
        let mut recorded = 0;
        for name in 0..5_000 {
            let actor = format!("spiffe://a.test/made-up/{name}");
            recorded += u32::from(allowances.take(&denial(&actor, "no"), now).is_some());
        }
        assert_eq!(recorded, u32::try_from(NAMES).unwrap() + BURST);
        assert_eq!(allowances.0["spiffe://a.test"].len(), NAMES + 1);
        assert_eq!(allowances.take(&denial("spiffe://b.test/x", "no"), now), Some(0));
        // Names that have been silent for long make room.
        let later = now + REFILL * BURST + REPEAT_AFTER;
        assert_eq!(allowances.take(&denial("spiffe://a.test/new", "no"), later), Some(0));
        assert_eq!(allowances.0["spiffe://a.test"].len(), 1);
    }

    #[test]
    fn a_path_that_is_no_method_is_not_recorded() {
        let refused = Denial { method: "/made.Up/Path".into(), ..denial("anonymous", "no") }.bounded();
        assert_eq!(refused.method, "unknown method");
        let known = "/proto.connect.trust_zone_service.v1alpha1.TrustZoneService/ListTrustZones";
        assert_eq!(Denial { method: known.into(), ..refused }.bounded().method, known);
    }
}
