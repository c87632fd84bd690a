//! Log lines go to stderr: stdout is for data.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One line a record, for people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("unexpected log level {level:?}, valid are: error, warn, info, debug, trace, or directives like info,cofide_xds=debug")]
    Level { level: String },
    #[error("logging is already set up in this process")]
    Twice,
}

/// Sets up logging for the whole process. `level` is a level or a list of `tracing` directives, in any case.
pub fn init(format: Format, level: &str) -> Result<(), LoggingError> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    result.map_err(|_| LoggingError::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    let unexpected = || LoggingError::Level { level: level.to_owned() };
    let lower = level.trim().to_ascii_lowercase();
    // A bare word would be taken for a module name and silence everything.
    let is_level = |word: &str| !word.is_empty() && LevelFilter::from_str(word).is_ok();
    if !lower.split(',').all(|word| word.contains('=') || is_level(word.trim())) {
        return Err(unexpected());
    }
    let filter = EnvFilter::try_new(&lower).map_err(|_| unexpected())?;
    let is_talkative = filter.max_level_hint().is_some_and(|level| level >= LevelFilter::INFO);
    if is_talkative && !lower.contains("hickory") {
        // The DNS library writes two lines for each query at info; who wants them names it.
        return EnvFilter::try_new(format!("hickory_server=warn,{lower}")).map_err(|_| unexpected());
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_level_or_directives() {
        for good in ["info", "ERROR", "off", "info,cofide_xds=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "", "info,loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dns_queries_are_logged_on_demand_only() {
        for (level, is_quiet) in
            [("info", true), ("debug,cofide_dns=trace", true), ("info,hickory_server=info", false), ("error", false), ("off", false)]
        {
            assert_eq!(filter(level).unwrap().to_string().contains("hickory_server=warn"), is_quiet, "{level}");
        }
    }
}
