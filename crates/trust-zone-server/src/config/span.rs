//! Durations as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads `90s`, `5m`, `1h`, `1d` and `500ms`, and several in a row, as in `1h30m`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is not a duration; write it as 30s, 5m, 1h, 1d or 1h30m");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(problem());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| problem())?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let milliseconds = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(problem()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(problem)?;
        total = total.checked_add(part).ok_or_else(problem)?;
    }
    Ok(total)
}

/// For `#[serde(with = "span")]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_span(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), (" 2h ", 7200)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_span("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "5", "s", "5 m", "-5m", "1.5h", "5w", "99999999999999999999s", "999999999999999999d", "ä"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
