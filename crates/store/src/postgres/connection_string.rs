//! Where a PostgreSQL database is, and as whom to use it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// A connection URI (PostgreSQL, section 34.1.1.2): `postgres://user:password@host:5432/database?sslrootcert=/path/ca.pem`.
///
/// What it leaves out comes from the environment and the password file as for PostgreSQL's own programs (`PGPASSWORD`,
/// `~/.pgpass`), except for TLS: off this machine the server must prove its name (`sslmode=verify-full`) unless the text
/// says otherwise. Printed, it is the database and its host and never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    text: String,
    database: String,
    place: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; write it as postgres://user:password@host:5432/database?sslrootcert=/path/ca.pem")]
pub struct ConnectionStringError {
    reason: String,
}

/// What the driver understands. It passes over what it does not, which a misspelt `sslmode` must not be.
const PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

impl FromStr for ConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        // None of the reasons repeats a part of the text: the password is somewhere in it.
        let refuse = |reason: String| ConnectionStringError { reason };
        let text = text.trim();
        let url = Url::parse(text).map_err(|error| refuse(format!("it is no connection URI ({error})")))?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(refuse("it does not begin with postgres://".to_owned()));
        }
        let is_unknown = |name: &str| !PARAMETERS.contains(&name) && !name.starts_with("options[");
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| is_unknown(name)) {
            return Err(refuse(format!("its parameter {name:?} is not one of {}", PARAMETERS.join(", "))));
        }
        let options = PgConnectOptions::from_str(text).map_err(|error| refuse(format!("it cannot be used ({error})")))?;
        let database = options.get_database().unwrap_or(options.get_username()).to_owned();
        let place = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Ok(Self { text: text.to_owned(), database, place })
    }
}

impl ConnectionString {
    /// The driver's own words for it. They hold the password, and print it.
    pub(super) fn options(&self) -> Result<PgConnectOptions, ConnectionStringError> {
        let options = PgConnectOptions::from_str(&self.text)
            .map_err(|error| ConnectionStringError { reason: format!("it cannot be used ({error})") })?;
        Ok(if self.says_sslmode() || is_local(&options) { options } else { options.ssl_mode(PgSslMode::VerifyFull) })
    }

    fn says_sslmode(&self) -> bool {
        let in_text = Url::parse(&self.text).is_ok_and(|url| url.query_pairs().any(|(name, _)| name == "sslmode"));
        in_text || std::env::var_os("PGSSLMODE").is_some()
    }

    /// Whether what is sent to the server can be read on the way.
    pub fn is_in_clear(&self) -> bool {
        let may_be = |options: PgConnectOptions| {
            let mode = options.get_ssl_mode();
            !is_local(&options) && matches!(mode, PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer)
        };
        self.options().is_ok_and(may_be)
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }
}

/// Nothing leaves this machine.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || is_loopback()
}

impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.database, self.place)
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionString({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ConnectionString {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_printed_is_the_database_and_its_host() {
        for (text, printed) in [
            ("postgres://connect:secret@db.example.com/cofide", "cofide at db.example.com:5432"),
            ("postgresql://connect:secret@[::1]:5433/cofide?password=secret", "cofide at [::1]:5433"),
            ("postgres:///cofide?host=/run/postgresql&user=connect&password=secret", "cofide at /run/postgresql"),
            ("postgres://connect:secret@db.example.com", "connect at db.example.com:5432"),
        ] {
            let string = read(text);
            assert_eq!(string.to_string(), printed);
            assert!(!format!("{string:?}").contains("secret"));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_a_word_of_the_password() {
        for (text, reason) in [
            ("secret", "no connection URI"),
            ("mysql://connect:secret@db/cofide", "does not begin with postgres://"),
            ("sqlite:///secret.db", "does not begin with postgres://"),
            ("postgres://connect:secret@db/cofide?ssl_mode=disable", "\"ssl_mode\" is not one of sslmode, sslrootcert"),
            ("postgres://connect:secret@db:port/cofide", "invalid port"),
            ("postgres://connect:secret@db/cofide?sslmode=maybe", "cannot be used"),
        ] {
            let error = text.parse::<ConnectionString>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("write it as postgres://"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn off_this_machine_a_server_proves_its_name_unless_the_text_says_otherwise() {
        for (text, mode, is_in_clear) in [
            ("postgres://u@db.example.com/d", PgSslMode::VerifyFull, false),
            ("postgres://u@10.0.0.1/d", PgSslMode::VerifyFull, false),
            ("postgres://u@db.example.com/d?sslmode=require", PgSslMode::Require, false),
            ("postgres://u@db.example.com/d?sslmode=prefer", PgSslMode::Prefer, true),
            ("postgres://u@db.example.com/d?sslmode=disable", PgSslMode::Disable, true),
            ("postgres://u@localhost/d", PgSslMode::Prefer, false),
            ("postgres://u@127.0.0.1/d", PgSslMode::Prefer, false),
            ("postgres://u@[::1]/d", PgSslMode::Prefer, false),
            ("postgres:///d?host=/run/postgresql&user=u", PgSslMode::Prefer, false),
        ] {
            let string = read(text);
            let found = string.options().unwrap().get_ssl_mode();
            assert_eq!((format!("{found:?}"), string.is_in_clear()), (format!("{mode:?}"), is_in_clear), "{text}");
        }
    }
}
