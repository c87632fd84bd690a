//! How long to wait before trying again.

use std::time::Duration;

use rand::Rng;

/// Doubles from failure to failure up to a bound. Each wait is somewhere between half of it and all of it, so that a
/// thousand agents that lost the same Connect do not come back in the same instant.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// A `longest` that is shorter than `first` counts as `first`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), next: first }
    }

    /// After a failure: how long to wait now.
    pub fn wait(&mut self) -> Duration {
        let ceiling = self.next;
        self.next = (self.next.saturating_mul(2)).min(self.longest);
        rand::rng().random_range(ceiling / 2..=ceiling)
    }

    /// To be called after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_wait_alike() {
        let waits = || {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
            std::iter::repeat_with(|| backoff.wait()).take(8).collect::<Vec<_>>()
        };
        assert_ne!(waits(), waits());
    }

    #[test]
    fn waits_grow_to_a_bound_and_start_anew_after_a_success() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(8));
        for ceiling in [1, 2, 4, 8, 8, 8] {
            let wait = backoff.wait();
            assert!(wait >= seconds(ceiling) / 2 && wait <= seconds(ceiling), "{wait:?} after {ceiling}");
        }
        backoff.reset();
        assert!(backoff.wait() <= seconds(1));
    }
}
