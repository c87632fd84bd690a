//! A time without Connect, as the log tells it: its cause once, and its end.

use std::time::Duration;

use tokio::time::Instant;

/// From the first failed attempt to the next success.
#[derive(Debug)]
pub(crate) struct Outage {
    since: Instant,
    attempts: u32,
    reason: String,
}

impl Outage {
    /// Notes a failed attempt. Answers whether its reason is news: a person need not hear the same every few seconds.
    pub(crate) fn failed(outage: &mut Option<Self>, reason: &str, now: Instant) -> bool {
        match outage {
            None => {
                *outage = Some(Self { since: now, attempts: 1, reason: reason.to_owned() });
                true
            }
            Some(outage) => {
                outage.attempts = outage.attempts.saturating_add(1);
                let is_news = outage.reason != reason;
                if is_news {
                    reason.clone_into(&mut outage.reason);
                }
                is_news
            }
        }
    }

    pub(crate) fn duration(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_news_once_and_the_outage_begins_with_the_first() {
        let (start, mut outage) = (Instant::now(), None);
        let at = |seconds| start + Duration::from_secs(seconds);
        let failures = [("refused", 0), ("refused", 1), ("no route", 2), ("no route", 3), ("refused", 4)];
        let news = failures.map(|(reason, seconds)| Outage::failed(&mut outage, reason, at(seconds)));
        assert_eq!(news, [true, false, true, false, true]);
        let outage = outage.unwrap();
        assert_eq!((outage.duration(at(9)), outage.attempts()), (Duration::from_secs(9), 5));
    }
}
