//! Refused calls in the audit log, bounded so that whoever is refused cannot fill the disk.
//!
//! A caller that is refused over and over (a stopped agent with an expired certificate, a scanner) says the same thing
//! each time, so the same refusal is recorded once a minute. Different refusals share an allowance: a burst, then one
//! every ten seconds, which is at most some 8,640 rows a day. What was left out is counted and said in the next record.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofide_core::{AuditEvent, EventKind, Outcome};
use cofide_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::audit::{now, server_version};
use crate::id;

const BURST: u32 = 60;
const REFILL: Duration = Duration::from_secs(10);
const REPEAT_AFTER: Duration = Duration::from_secs(60);
/// How many different refusals are remembered for the sake of `REPEAT_AFTER`.
const REMEMBERED: usize = 4096;
/// Characters of a path or a message that are kept.
const MAX_TEXT: usize = 512;

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
        let cut = |text: &mut String| *text = text.chars().take(MAX_TEXT).collect();
        cut(&mut self.method);
        cut(&mut self.reason);
        self
    }
}

/// Takes refusals from the calls and writes them in the background, so that a refusal costs its caller no transaction.
#[derive(Debug)]
pub struct Denials {
    allowance: Mutex<Allowance>,
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
        Self { allowance: Mutex::new(Allowance::new(Instant::now())), accepted }
    }

    pub fn record(&self, denial: Denial) {
        let denial = denial.bounded();
        let Some(left_out) = self.allowance().take(&denial, Instant::now()) else { return };
        tracing::info!(
            actor = denial.actor,
            source_ip = denial.source_ip,
            method = denial.method,
            reason = denial.reason,
            left_out,
            "call refused"
        );
        if self.accepted.try_send((denial, left_out)).is_err() {
            self.allowance().left_out += left_out + 1;
        }
    }

    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
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

#[derive(Debug)]
struct Allowance {
    tokens: u32,
    refilled: Instant,
    seen: HashMap<Denial, Instant>,
    left_out: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { tokens: BURST, refilled: now, seen: HashMap::new(), left_out: 0 }
    }

    /// `Some` where the denial is to be recorded, with how many were left out before it.
    fn take(&mut self, denial: &Denial, now: Instant) -> Option<u64> {
        let earned = now.duration_since(self.refilled).as_secs() / REFILL.as_secs();
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            self.refilled = now;
        }
        let is_repeated = self.seen.get(denial).is_some_and(|last| now.duration_since(*last) < REPEAT_AFTER);
        if is_repeated || self.tokens == 0 {
            self.left_out += 1;
            return None;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.retain(|_, last| now.duration_since(*last) < REPEAT_AFTER);
        }
        self.tokens -= 1;
        self.seen.insert(denial.clone(), now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(actor: &str) -> Denial {
        Denial { actor: actor.into(), source_ip: "192.0.2.1".into(), method: "/a.B/C".into(), reason: "no".into() }
    }

    #[test]
    fn the_same_refusal_is_recorded_once_a_minute_and_says_how_many_it_stands_for() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert_eq!(allowance.take(&denial("a"), start), Some(0));
        for second in 1..60 {
            assert_eq!(allowance.take(&denial("a"), start + Duration::from_secs(second)), None);
        }
        assert_eq!(allowance.take(&denial("a"), start + Duration::from_secs(60)), Some(59));
    }

    #[test]
    fn a_flood_of_different_refusals_costs_a_bounded_number_of_rows() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let day = 24 * 3600;
        let recorded =
            (0..day * 10).filter(|n| allowance.take(&denial(&n.to_string()), start + Duration::from_millis(n * 100)).is_some()).count();
        assert!(recorded as u64 <= u64::from(BURST) + day / REFILL.as_secs(), "{recorded}");
        assert!(recorded > 1000, "and still tells what goes on: {recorded}");
        assert!(allowance.seen.len() <= REMEMBERED);
    }
}
