//! Waiting for a condition, with a deadline and a report of what was seen last.

use std::fmt::Debug;
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
    let caller = std::panic::Location::caller();
    within(PATIENCE, what, caller, ask, done)
}

/// As [`eventually`], with another deadline: where the time is itself what is promised.
pub async fn within<T, F>(
    patience: Duration,
    what: &str,
    caller: &std::panic::Location<'_>,
    mut ask: impl FnMut() -> F,
    done: impl Fn(&T) -> bool,
) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
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
