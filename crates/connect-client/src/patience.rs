//! Coming back when Connect says "later".

use std::future::Future;
use std::time::Duration;

use cofide_runtime::Backoff;
use tonic::{Code, Status};

/// Where a refused call says after how many milliseconds to try again (gRFC A6).
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// How long one call waits in all. Whoever makes the call keeps what it wants to say, and says it again later.
const LONGEST: Duration = Duration::from_secs(60);

/// Makes a call, and makes it again as long as Connect answers RESOURCE_EXHAUSTED, after as long as Connect asks for and
/// a little more, so that those who were sent away together do not come back together.
///
/// # Errors
///
/// Whatever else the call fails with; and RESOURCE_EXHAUSTED itself once a minute of waiting was not enough.
pub async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    // For a server that does not say.
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
    let mut waited = Duration::ZERO;
    loop {
        let status = match call().await {
            Err(status) if status.code() == Code::ResourceExhausted => status,
            outcome => return outcome,
        };
        let wait = match pushback(&status) {
            Some(wait) => wait + Backoff::new(wait / 4, wait / 4).wait(),
            None => backoff.wait(),
        };
        waited += wait;
        if waited > LONGEST {
            return Err(status);
        }
        tracing::debug!(reason = status.message(), ?wait, "Connect asks to come back later");
        tokio::time::sleep(wait).await;
    }
}

fn pushback(status: &Status) -> Option<Duration> {
    let milliseconds = status.metadata().get(RETRY_PUSHBACK)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Instant;

    fn later(milliseconds: u64) -> Status {
        let mut status = Status::resource_exhausted("later");
        status.metadata_mut().insert(RETRY_PUSHBACK, milliseconds.into());
        status
    }

    #[tokio::test]
    async fn a_call_that_is_sent_away_comes_back_when_it_was_told_to_and_not_before() {
        let (calls, begun) = (Cell::new(0), Instant::now());
        let answer = patiently(|| {
            calls.set(calls.get() + 1);
            let is_too_early = begun.elapsed() < Duration::from_millis(60);
            async move { if is_too_early { Err(later(30)) } else { Ok("done") } }
        });
        assert_eq!(answer.await.unwrap(), "done");
        assert!((2..=3).contains(&calls.get()), "{}", calls.get());
    }

    #[tokio::test]
    async fn other_refusals_and_waits_that_are_too_long_are_the_callers_business() {
        for refusal in [Status::permission_denied("no"), later(61_000)] {
            let calls = Cell::new(0);
            let answer: Result<(), _> = patiently(|| {
                calls.set(calls.get() + 1);
                let refusal = refusal.clone();
                async move { Err(refusal) }
            })
            .await;
            assert_eq!((answer.unwrap_err().code(), calls.get()), (refusal.code(), 1));
        }
    }
}
