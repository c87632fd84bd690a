//! Why a call failed, in words for a person; above all, where Connect does not take the agent for whom it says it is.

use cofide_runtime::Chain;
use tonic::{Code, Status};

use crate::ConnectError;

/// What rustls says of the alert (RFC 8446, section 6.2) that answers a certificate of which no authority is known. The
/// client has finished its handshake by then, and the layers above hand on the text alone.
const UNKNOWN_AUTHORITY: &str = "received fatal alert: UnknownCA";

/// The way back for an agent whose identity Connect refuses. It cannot bring the new bundle itself: Connect would have to
/// know it for that.
const OTHER_AUTHORITY: &str = "Where the trust zone's authority was replaced while Connect was away, Connect's bundle of this zone is \
     older than the authority that signed the agent's X.509-SVID, and this agent cannot come back by itself. Give Connect the present bundle: \
     `cofidectl trust-zone set-bundle ZONE --bundle-file FILE`; see \"When something is down\" in docs/agent-host.md";

/// What Connect says of a certificate whose time is over.
const EXPIRED: &str = " expired at ";

const NOT_RENEWED: &str = "The agent shows Connect what its SPIFFE Workload API gives it: look there why the X.509-SVID is not renewed, and whether \
     the clocks of both machines are in step";

/// What a person is told of an agent that Connect does not recognise: what Connect said ([`refused_identity`]) and the way
/// back.
pub fn not_recognised(said: &str) -> String {
    let remedy = if said.contains(EXPIRED) { NOT_RENEWED } else { OTHER_AUTHORITY };
    format!("Connect does not recognise this agent: {said}. {remedy}")
}

/// What Connect says about an agent that it does not recognise; `None` where the call failed with something else.
pub fn refused_identity(status: &Status) -> Option<String> {
    if Chain(status).iter().any(|error| error.to_string().contains(UNKNOWN_AUTHORITY)) {
        return Some("it knows no authority that signed this agent's X.509-SVID (TLS alert UnknownCA)".to_owned());
    }
    (status.code() == Code::Unauthenticated).then(|| status.message().to_owned())
}

/// The reason for a person: why Connect does not recognise the agent, what the connection failed with, or what Connect
/// said.
pub fn explain(status: &Status) -> String {
    if let Some(said) = refused_identity(status) {
        return not_recognised(&said);
    }
    match ConnectError::within(status) {
        Some(error) => error.to_string(),
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_refused_identity_is_told_with_its_cause_and_the_way_back() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let in_the_stream = Status::from_error(Box::new(io::Error::new(io::ErrorKind::InvalidData, alert.clone())));
        let in_the_handshake = ConnectError::Handshake { url: "connect.test:443".to_owned(), reason: alert.to_string() };
        let refusals = [
            in_the_stream,
            Status::from_error(Box::new(in_the_handshake)),
            Status::unknown(format!("h2 protocol error: {alert}")),
            Status::unauthenticated("the certificate of spiffe://a.test/x is not signed by an authority of trust domain a.test"),
        ];
        for status in refusals {
            let text = explain(&status);
            for part in
                ["X.509-SVID", "older than the authority", "cofidectl trust-zone set-bundle ZONE --bundle-file FILE", "docs/agent-host.md"]
            {
                assert!(text.contains(part), "{part:?} is not in {text:?}, from {status:?}");
            }
        }
        assert!(explain(&Status::unauthenticated("the certificate of X is not signed")).contains("the certificate of X is not signed"));
    }

    #[test]
    fn of_an_expired_certificate_nobody_is_told_to_set_a_bundle() {
        let text = explain(&Status::unauthenticated("the certificate of spiffe://a.test/x expired at 2026-11-30T21:28:41Z"));
        assert!(text.contains("21:28:41Z. ") && text.contains("Workload API") && !text.contains("set-bundle"), "{text}");
    }

    #[test]
    fn other_failures_are_told_as_they_are() {
        let other_alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired);
        assert_eq!(explain(&Status::permission_denied("no such cluster")), "no such cluster");
        assert_eq!(explain(&Status::new(Code::Unavailable, "")), Code::Unavailable.to_string());
        let expired = Status::from_error(Box::new(io::Error::other(other_alert)));
        assert!(!explain(&expired).contains("set-bundle"), "{expired:?}");
    }
}
