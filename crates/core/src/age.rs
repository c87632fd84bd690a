//! How long ago something was, in the one unit that a person needs.

use std::fmt;

use crate::Timestamp;

/// The time between two moments, printed as `now`, `12s`, `7m`, `3h` or `2d`. What lies in the future, as where two
/// clocks differ, is `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    seconds: i64,
}

impl Timestamp {
    pub fn age(self, now: Self) -> Age {
        Age { seconds: now.0.saturating_sub(self.0).max(0) / 1_000_000 }
    }
}

impl Age {
    pub fn as_seconds(self) -> i64 {
        self.seconds
    }

    /// `just now`, or `7m ago`.
    pub fn ago(self) -> String {
        if self.seconds == 0 { "just now".to_owned() } else { format!("{self} ago") }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            0 => f.write_str("now"),
            seconds @ 1..60 => write!(f, "{seconds}s"),
            seconds @ 60..3_600 => write!(f, "{}m", seconds / 60),
            seconds @ 3_600..172_800 => write!(f, "{}h", seconds / 3_600),
            seconds => write!(f, "{}d", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let now = Timestamp::from_seconds(1_000_000);
        let told = |seconds: i64| Timestamp::from_seconds(1_000_000 - seconds).age(now).ago();
        let ages = [-5, 0, 1, 59, 60, 7 * 60 + 59, 3_600, 47 * 3_600, 49 * 3_600].map(told);
        assert_eq!(ages, ["just now", "just now", "1s ago", "59s ago", "1m ago", "7m ago", "1h ago", "47h ago", "2d ago"]);
    }
}
