//! The loop that every executor runs in: look, act, wait to be told to look again.
//!
//! A reconciler takes no input. A wake-up, the timer and a retry after a failure all mean the same: read what is wanted
//! and what is there, and act on the difference.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::published::Wake;

/// How often to look.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At least this often, wake-up or not.
    pub interval: Duration,
    /// After a failure; doubled with each further one, up to `interval`.
    pub retry: Duration,
}

/// Runs `once` now and then again and again until `shutdown`, which ends a run at whatever it waits for: what an executor
/// leaves half done the next run finishes, in this process or another.
///
/// A wake-up during a wait for a retry runs at once: what made it may be what mends the failure.
pub async fn run<F, Fut, E>(name: &'static str, pace: Pace, wake: Wake, shutdown: CancellationToken, mut once: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut failures = 0u32;
    let mut last_error = String::new();
    while !shutdown.is_cancelled() {
        let outcome = tokio::select! {
            outcome = once() => outcome,
            () = shutdown.cancelled() => break,
        };
        let wait = match outcome {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(reconciler = name, failures, "recovered");
                }
                failures = 0;
                last_error.clear();
                pace.interval
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let wait = backoff(pace, failures);
                let error = error.to_string();
                // The same failure again is news to nobody.
                if error == last_error {
                    tracing::debug!(reconciler = name, %error, failures, retry_in = ?wait, "still failing");
                } else {
                    tracing::warn!(reconciler = name, %error, retry_in = ?wait, "failed");
                }
                last_error = error;
                wait
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = wake.woken() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Doubles with each failure, never above the interval.
fn backoff(pace: Pace, failures: u32) -> Duration {
    pace.retry.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(pace.interval.max(pace.retry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const PACE: Pace = Pace { interval: Duration::from_secs(10), retry: Duration::from_millis(100) };

    #[test]
    fn waits_grow_to_the_interval() {
        let waits: Vec<_> = [1, 2, 3, 8, 40].into_iter().map(|failures| backoff(PACE, failures).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 10_000, 10_000]);
    }

    /// Runs a reconciler that counts, and answers how often it had run when `stop` returned.
    async fn count(interval: Duration, first: Result<(), &'static str>, stop: impl AsyncFnOnce(&Wake, &AtomicU32)) -> u32 {
        let runs = Arc::new(AtomicU32::new(0));
        let (wake, shutdown) = (Wake::default(), CancellationToken::new());
        let counted = runs.clone();
        let pace = Pace { interval, retry: Duration::from_millis(1) };
        let task = tokio::spawn(run("test", pace, wake.clone(), shutdown.clone(), move || {
            let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if is_first { first } else { Ok(()) } }
        }));
        tokio::time::timeout(Duration::from_secs(10), stop(&wake, &runs)).await.expect("the reconciler runs");
        shutdown.cancel();
        task.await.unwrap();
        runs.load(Ordering::SeqCst)
    }

    async fn reaches(runs: &AtomicU32, count: u32) {
        while runs.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    }

    const FOREVER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn it_runs_at_once_and_at_each_wake_up() {
        let runs = count(FOREVER, Ok(()), async |wake, runs| {
            reaches(runs, 1).await;
            wake.wake();
            reaches(runs, 2).await;
        });
        assert_eq!(runs.await, 2);
    }

    #[tokio::test]
    async fn it_runs_by_itself() {
        count(Duration::from_millis(1), Ok(()), async |_, runs| reaches(runs, 3).await).await;
    }

    #[tokio::test]
    async fn a_failure_is_tried_again_sooner() {
        count(FOREVER, Err("not yet"), async |_, runs| reaches(runs, 2).await).await;
    }
}
