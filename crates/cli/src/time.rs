//! Moments as people read and write them.

use std::time::SystemTime;

use cofide_core::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 in UTC. A moment beyond the year 9999 is printed as the number of microseconds that it is.
pub fn format_moment(moment: Timestamp) -> String {
    let nanos = i128::from(moment.as_micros()) * 1_000;
    let formatted = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|time| time.format(&Rfc3339).ok());
    formatted.unwrap_or_else(|| moment.as_micros().to_string())
}

/// A time in RFC 3339, or how long ago: a number with `s`, `m`, `h` or `d`.
pub fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        let micros = time.unix_timestamp_nanos() / 1_000;
        return i64::try_from(micros).map(Timestamp).map_err(|_| format!("{text} is out of range"));
    }
    let unit = text.chars().last().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    });
    let ago = unit.and_then(|unit: i64| text[..text.len() - 1].parse::<u32>().ok().map(|number| i64::from(number) * unit));
    let ago = ago.ok_or_else(|| format!("{text:?} is neither a time as in 2026-01-31T12:00:00Z nor a time ago as in 90m, 24h or 7d"))?;
    let now = Timestamp::from(SystemTime::now());
    Ok(Timestamp(now.as_micros().saturating_sub(ago.saturating_mul(1_000_000))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_printed() {
        for text in ["2026-01-31T12:00:00Z", "1969-12-31T23:59:59.999999Z"] {
            assert_eq!(format_moment(parse_moment(text).unwrap()), text);
        }
        assert_eq!(format_moment(Timestamp(i64::MAX)), i64::MAX.to_string());
    }

    #[test]
    fn a_moment_ago_lies_in_the_past() {
        let now = Timestamp::from(SystemTime::now()).as_seconds();
        for (text, seconds) in [("0s", 0), ("90m", 5_400), ("24h", 86_400), ("7d", 604_800)] {
            let ago = now - parse_moment(text).unwrap().as_seconds();
            assert!((seconds - 5..=seconds).contains(&ago), "{text}: {ago}");
        }
        for bad in ["", "h", "yesterday", "-1h", "1w", "1.5h", "é"] {
            assert!(parse_moment(bad).is_err(), "{bad:?}");
        }
    }
}
