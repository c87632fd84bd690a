//! Waiting until something works.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Far beyond what anything takes, for a machine that compiles at the same time.
pub const PATIENCE: Duration = Duration::from_secs(40);
const ATTEMPT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Tries again and again until it works; the last error when it does not within the time.
pub async fn attempts<T>(patience: Duration, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        let error = match tokio::time::timeout(ATTEMPT, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {ATTEMPT:?}"),
        };
        if start.elapsed() > patience {
            return Err(format!("not within {patience:?}: {error}"));
        }
        tokio::time::sleep(POLL).await;
    }
}
