//! What went wrong, in words that a person can act on, and the exit code that goes with it.

use cofide_connect_client::ConnectError;
use cofide_runtime::command_line::ERROR;
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
    /// No failure: what was asked for has been told, and it is a no. A script sees that by the exit code.
    #[error("the answer is no")]
    AnswerIsNo,
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

    /// The same failure in other words; what to do about it stays.
    #[must_use]
    pub fn instead(self, message: impl Into<String>) -> Self {
        match self {
            Self::Failed { hint, .. } => Self::Failed { message: message.into(), hint },
            other => other,
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed { .. } | Self::AnswerIsNo => 1,
            Self::OutputClosed => 0,
        }
    }

    /// As it is printed on stderr.
    pub fn render(&self, color: bool) -> String {
        let (red, cyan, plain) = if color { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!("{red}{ERROR}{plain} {}\n", printable(&self.to_string()));
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
            // What Connect said itself has no source here; what happened on the way to it has.
            Code::Unavailable if std::error::Error::source(&status).is_none() => {
                Self::failed(format!("Connect cannot do it at the moment: {}", or("no reason given")))
                    .hint("Connect was reached, and this is its answer; if it stays so, the log of cofide-connect says more")
            }
            Code::Unavailable => Self::failed(format!("the connection to Connect broke: {}", or("no reason given")))
                .hint("check that cofide-connect runs; a change may or may not have been made, list it first"),
            Code::DeadlineExceeded | Code::Cancelled => {
                Self::failed("Connect did not answer in time").hint("try again; the change may or may not have been made, list it first")
            }
            Code::Unimplemented => Self::failed("Connect does not offer this call")
                .hint("it is probably of another version than cofidectl; compare the versions"),
            Code::ResourceExhausted => Self::failed(format!("Connect is at a limit: {}", or("no reason given")))
                .hint("make room for what the message names, or try again in a while; the log of cofide-connect says more"),
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
    fn what_connect_says_is_told_apart_from_what_happened_on_the_way_to_it() {
        let full = Status::unavailable("the disk of cofide-connect's database is full; nothing was changed");
        let text = Error::from(full.clone()).render(false);
        assert!(
            text.contains("disk") && text.contains("Connect was reached") && !text.contains("check that cofide-connect runs"),
            "{text}"
        );
        let mut broken = full;
        broken.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        let text = Error::from(broken).render(false);
        assert!(text.contains("connection to Connect broke") && text.contains("check that cofide-connect runs"), "{text}");
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
