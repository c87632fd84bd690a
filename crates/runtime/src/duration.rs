//! Durations as people write them: the one form of the configuration of all programs.
//!
//! `#[serde(with = "cofide_runtime::duration")]` reads and writes a [`Duration`] in this form.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Milliseconds of each unit, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `90s`, `5m`, `1h`, `1d` and `500ms`, and several in a row, as in `1h30m`.
pub fn parse(text: &str) -> Result<Duration, String> {
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
        let (_, milliseconds) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(problem)?;
        rest = &rest[letters..];
        let part = number.checked_mul(*milliseconds).map(Duration::from_millis).ok_or_else(problem)?;
        total = total.checked_add(part).ok_or_else(problem)?;
    }
    Ok(total)
}

/// Writes what [`parse`] reads; what is shorter than a millisecond is lost.
pub fn format(duration: Duration) -> String {
    let mut left = duration.as_millis();
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        let number = left / u128::from(milliseconds);
        left %= u128::from(milliseconds);
        if number > 0 {
            text += &format!("{number}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// For `clap`: checks the text and keeps it, since a flag goes the same way as the key of the file.
pub fn argument(text: &str) -> Result<String, String> {
    parse(text).map(|_| text.to_owned())
}

/// For `#[serde(with = "...")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(serde_json::Number),
    }
    match Written::deserialize(deserializer)? {
        Written::Text(text) => parse(&text).map_err(serde::de::Error::custom),
        // Seconds, most likely; but a guess about a certificate's life is not for a program to make.
        Written::Number(number) => Err(serde::de::Error::custom(format!("{number} has no unit; write {number}s for seconds"))),
    }
}

/// For `#[serde(with = "...")]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), (" 2h ", 7200)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "5", "s", "5 m", "-5m", "1.5h", "5w", "99999999999999999999s", "999999999999999999d", "ä"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["0s", "250ms", "1s", "1m30s", "1h", "1d", "3650d", "1d1h1m1s1ms"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_unit_that_is_missing() {
        let error = deserialize(serde_json::json!(30)).unwrap_err().to_string();
        assert_eq!(error, "30 has no unit; write 30s for seconds");
    }
}
