//! Why a call failed, in words that tell a person where to look.

use std::error::Error;
use std::io;

use serde::Serialize;

/// The reason, which is also the client's exit code; 2 is clap's, for wrong usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Other = 1,
    NameNotFound = 3,
    /// Nobody listens, or nobody answers.
    Unreachable = 4,
    /// The server's certificate chains to no authority that this workload holds.
    UntrustedIssuer = 5,
    /// The server is not who was expected.
    UnexpectedIdentity = 6,
    /// The other side, or a gateway between, refused.
    Refused = 7,
    TimedOut = 8,
}

impl Reason {
    pub fn hint(self) -> &'static str {
        match self {
            Self::Other => "",
            Self::NameNotFound => {
                "is the service exported, and do the two trust zones federate? Ask: cofidectl federated-service list; cofidectl federation list"
            }
            Self::Unreachable => "is the proxy or the server up?",
            Self::UntrustedIssuer => "does the binding of this workload carry --federates-with for the server's trust zone?",
            Self::UnexpectedIdentity => "check --expect against the server's SPIFFE ID",
            Self::Refused => "is the service exported to this trust domain, and does the server trust this client's?",
            Self::TimedOut => "is there a path to the server?",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub reason: Reason,
    pub message: String,
    /// Whether the same attempt on another connection may succeed a moment later.
    pub is_momentary: bool,
}

impl Failure {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), is_momentary: false }
    }

    /// Reads the reason from what the TLS stack or the socket reported while doing `what`.
    pub fn from_io(what: &str, error: &io::Error) -> Self {
        let reason = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => tls_reason(tls),
            None => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    Reason::Unreachable
                }
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Reason::Refused,
                io::ErrorKind::TimedOut => Reason::TimedOut,
                _ => Reason::Other,
            },
        };
        let is_rotating = error.get_ref().is_some_and(is_rotating);
        Self { reason, message: format!("{what}: {error}"), is_momentary: reason == Reason::Refused || is_rotating }
    }
}

/// `spiffe-rustls` makes no decision in the instant in which it takes over a rotated identity: here it says so itself, and
/// over there it offers no way to sign.
fn is_rotating(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let mut next = match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::NoSignatureSchemes)) => return true,
        Some(rustls::Error::Other(other)) => other.source(),
        _ => None,
    };
    while let Some(error) = next {
        if let Some(spiffe_rustls::Error::PendingRevision { .. }) = error.downcast_ref() {
            return true;
        }
        next = error.source();
    }
    false
}

fn tls_reason(error: &rustls::Error) -> Reason {
    use rustls::{CertificateError, Error as Tls};
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => Reason::UntrustedIssuer,
        Tls::AlertReceived(_) => Reason::Refused,
        Tls::Other(other) => spiffe_reason(other),
        _ => Reason::Other,
    }
}

fn spiffe_reason(error: &(dyn Error + 'static)) -> Reason {
    let mut source = Some(error);
    while let Some(error) = source {
        match error.downcast_ref::<spiffe_rustls::Error>() {
            Some(spiffe_rustls::Error::NoBundle(_)) => return Reason::UntrustedIssuer,
            Some(spiffe_rustls::Error::UnauthorizedSpiffeId(_) | spiffe_rustls::Error::TrustDomainNotAllowed(_)) => {
                return Reason::UnexpectedIdentity;
            }
            _ => source = error.source(),
        }
    }
    // The wrapped error may sit behind an Arc, where downcasting does not reach it; its text is stable in the pinned version.
    let text = error.to_string();
    if text.contains("no bundle for trust domain") {
        Reason::UntrustedIssuer
    } else if text.contains("not authorized") {
        Reason::UnexpectedIdentity
    } else {
        Reason::Other
    }
}
