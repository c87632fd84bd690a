//! The loop that every executor runs in: look, act, wait to be told to look again.
//!
//! A reconciler takes no input. A wake-up, the timer and a retry after a failure all mean the same: read what is wanted
//! and what is there, and act on the difference.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cofide_runtime::Backoff;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::published::Wake;

/// How often to look.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At least this often, wake-up or not.
    pub interval: Duration,
    /// After a failure; doubled with each further one, up to `interval`, and cut short by chance so that agents which lost
    /// the same peer do not come back to it in the same instant.
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
    let mut backoff = Backoff::new(pace.retry, pace.interval);
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
                backoff.reset();
                last_error.clear();
                pace.interval
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let wait = backoff.wait();
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

/// As [`run`], for what computes and reads files instead of waiting: each run has a thread of its own, so that ten thousand
/// imports which are rendered keep no stream and no call waiting.
///
/// A run that has begun is finished also at `shutdown`. `tasks` know of it, so whoever waits for them waits for it.
pub async fn run_blocking<E>(
    name: &'static str,
    pace: Pace,
    wake: Wake,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    once: impl Fn() -> Result<(), E> + Send + Sync + 'static,
) where
    E: Display + Send + 'static,
{
    let once = Arc::new(once);
    run(name, pace, wake, shutdown, move || {
        let once = once.clone();
        let running = tasks.spawn_blocking(move || once());
        async move {
            match running.await {
                Ok(outcome) => outcome,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is going down, and this task with it.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

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

    #[tokio::test]
    async fn waits_after_failures_grow() {
        let pace = Pace { interval: Duration::from_millis(80), retry: Duration::from_millis(20) };
        let (mut runs, shutdown) = (0, CancellationToken::new());
        let (stop, start) = (shutdown.clone(), std::time::Instant::now());
        run("test", pace, Wake::default(), shutdown, || {
            runs += 1;
            if runs == 5 {
                stop.cancel();
            }
            async { Err::<(), _>("no") }
        })
        .await;
        // Each is at least half of 20, 40, 80 and 80 milliseconds.
        assert!(start.elapsed() >= Duration::from_millis(110), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn what_computes_does_not_keep_the_runtime_from_its_other_tasks() {
        // On the only thread of this runtime, the second of these could never answer the first.
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let answer = std::sync::Mutex::new(Some(answer));
        let asked = std::sync::Mutex::new(asked);
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let pace = Pace { interval: FOREVER, retry: FOREVER };
        let running = tokio::spawn(run_blocking("test", pace, Wake::default(), shutdown.clone(), tasks.clone(), move || {
            let outcome = asked.lock().unwrap().recv_timeout(Duration::from_secs(10)).map_err(|error| error.to_string());
            if let (Ok(()), Some(answer)) = (&outcome, answer.lock().unwrap().take()) {
                answer.send(()).unwrap();
            }
            outcome
        }));
        tokio::task::yield_now().await;
        ask.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap().expect("the run met the other task");
        shutdown.cancel();
        running.await.unwrap();
        tasks.close();
        tasks.wait().await;
    }
}
