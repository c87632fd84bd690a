//! What went wrong, in words that a person can act on, and the exit code that goes with it.

use cofide_connect_client::ConnectError;
use tonic::{Code, Status};

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    #[error("{message}")]
    Failed { message: String, hint: Option<String> },
    /// The reader of our output has gone away, as `head` does.
    #[error("the output was closed")]
    OutputClosed,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Failed { message, hint: None } => Self::Failed { message, hint: Some(hint.into()) },
            other => other,
        }
    }

    /// Says what was attempted.
    #[must_use]
    pub fn context(self, attempted: &str) -> Self {
        match self {
            Self::Failed { message, hint } => Self::Failed { message: format!("{attempted}: {message}"), hint },
            other => other,
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed { .. } => 1,
            Self::OutputClosed => 0,
        }
    }

    /// As it is printed on stderr.
    pub fn render(&self, color: bool) -> String {
        let (red, cyan, plain) = if color { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!("{red}Error:{plain} {}\n", printable(&self.to_string()));
        if let Self::Failed { hint: Some(hint), .. } = self {
            text.push_str(&format!("{cyan}hint:{plain} {}\n", printable(hint)));
        }
        text
    }
}

/// What others wrote must not steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        let failed = Self::failed(error.to_string());
        match error {
            // The others say it themselves.
            ConnectError::Refused { .. } => {
                failed.hint("it is not the Connect that the credential is for; correct the address, or use the credential file of this one")
            }
            _ => failed,
        }
    }
}

/// The one place where a gRPC status becomes words. Connect's own messages name the field or the object, so they are
/// kept; what is added is what the person at the terminal can do.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if let Some(reason) = ConnectError::within(&status) {
            return reason.clone().into();
        }
        let message = status.message();
        let or = |otherwise: &str| if message.is_empty() { otherwise.to_owned() } else { message.to_owned() };
        match status.code() {
            Code::Unauthenticated => Self::failed(format!("Connect does not accept the credential: {}", or("no reason given"))).hint(
                "name another credential file with --credentials or COFIDE_CREDENTIALS; cofide-connect writes one into its data folder",
            ),
            Code::PermissionDenied => {
                Self::failed(format!("not allowed: {}", or("no reason given"))).hint("ask an administrator, or use another credential")
            }
            Code::Unavailable => Self::failed(format!("Connect cannot be reached: {}", or("no connection")))
                .hint("check that cofide-connect runs and that --connect-url, or the credential file, names its address"),
            Code::DeadlineExceeded | Code::Cancelled => {
                Self::failed("Connect did not answer in time").hint("try again; the change may or may not have been made, list it first")
            }
            Code::Unimplemented => Self::failed("Connect does not offer this call")
                .hint("it is probably of another version than cofidectl; compare the versions"),
            Code::ResourceExhausted => {
                Self::failed(format!("too much at once: {}", or("a limit was reached"))).hint("try again in a while")
            }
            Code::Internal | Code::Unknown | Code::DataLoss => {
                Self::failed(format!("Connect failed: {}", or("no reason given"))).hint("the log of cofide-connect says more")
            }
            Code::Ok
            | Code::NotFound
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange => Self::failed(or(status.code().description())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_says_what_to_do_or_says_what_connect_said() {
        let rendered: Vec<String> = (0..=16)
            .map(|code| {
                let error = Error::from(Status::new(Code::from(code), "trust_zone.name: must not be empty"));
                format!("{:?} (exit {})\n{}", Code::from(code), error.exit_code(), error.render(false))
            })
            .collect();
        insta::assert_snapshot!(rendered.join("\n"));
    }

    #[test]
    fn colour_and_control_characters_are_told_apart() {
        let error = Error::failed("bad \x1b[2J name").hint("no \x07 bell");
        assert_eq!(error.render(false), "Error: bad \u{fffd}[2J name\nhint: no \u{fffd} bell\n");
        assert!(error.render(true).starts_with("\x1b[1;31mError:\x1b[0m bad \u{fffd}[2J"));
    }

    #[test]
    fn a_closed_output_is_no_failure() {
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit_code(), 0);
    }
}
