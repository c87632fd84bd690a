//! Waiting for a condition, with a deadline and a report of what was seen last.
//!
//! What surrounds the condition reports by itself when a test fails: [`crate::plane::Plane`] and [`crate::envoy::Envoy`] show
//! their state and the end of their logs as they go.

use std::fmt::Debug;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Long enough for a slow machine that does something else too; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(20);

/// Asks again and again until `done` likes the answer, and gives that answer.
///
/// # Panics
///
/// After [`PATIENCE`], with `what` and the last answer: the state that a reader of the failure needs.
#[track_caller]
pub fn eventually<T, F>(what: &str, ask: impl FnMut() -> F, done: impl Fn(&T) -> bool) -> impl Future<Output = T>
where
    T: Debug,
    F: Future<Output = T>,
{
    within(PATIENCE, what, ask, done)
}

/// As [`eventually`], with another deadline: where the time is itself what is promised.
#[track_caller]
pub fn within<T, F>(patience: Duration, what: &str, mut ask: impl FnMut() -> F, done: impl Fn(&T) -> bool) -> impl Future<Output = T>
where
    T: Debug,
    F: Future<Output = T>,
{
    let caller = Location::caller();
    async move {
        let began = Instant::now();
        loop {
            let answer = ask().await;
            if done(&answer) {
                return answer;
            }
            assert!(began.elapsed() < patience, "{caller}: not within {patience:?}: {what}; last seen: {answer:#?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// One attempt that takes longer hangs, and has failed.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Tries again and again until it works, and gives what came of it. One attempt that hangs is one that failed.
///
/// # Panics
///
/// After [`PATIENCE`], with `what` and the last error.
#[track_caller]
pub fn works<T>(what: &str, attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> impl Future<Output = T> {
    works_within(PATIENCE, what, attempt)
}

/// As [`works`], with another deadline.
#[track_caller]
pub fn works_within<T>(patience: Duration, what: &str, attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        match attempts(patience, attempt).await {
            Ok(value) => value,
            Err(error) => panic!("{caller}: {what}: {error}"),
        }
    }
}

/// As [`works_within`], for those who have more to show than the last error, which is the answer then.
pub async fn attempts<T>(patience: Duration, mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> Result<T, String> {
    let began = Instant::now();
    loop {
        let error = match tokio::time::timeout(ATTEMPT, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {ATTEMPT:?}"),
        };
        if began.elapsed() >= patience {
            return Err(format!("not within {patience:?}: {error}"));
        }
        tokio::time::sleep(POLL).await;
    }
}
