//! Messages that carry a secret: what they print in a log line does not.
//!
//! Whoever adds a message with a secret adds it here and to the list in `build.rs`.

use std::fmt;

use crate::connect::agent_service::CreateAgentJoinTokenResponse;
use crate::connect::trust_zone_service::RegisterAgentRequest;
use crate::workload::{Jwtsvid, ValidateJwtsvidRequest, X509svid};

impl fmt::Debug for CreateAgentJoinTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateAgentJoinTokenResponse").finish_non_exhaustive()
    }
}

impl fmt::Debug for RegisterAgentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterAgentRequest").field("agent", &self.agent).finish_non_exhaustive()
    }
}

impl fmt::Debug for X509svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509SVID").field("spiffe_id", &self.spiffe_id).field("hint", &self.hint).finish_non_exhaustive()
    }
}

impl fmt::Debug for Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JWTSVID").field("spiffe_id", &self.spiffe_id).field("hint", &self.hint).finish_non_exhaustive()
    }
}

impl fmt::Debug for ValidateJwtsvidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidateJWTSVIDRequest").field("audience", &self.audience).finish_non_exhaustive()
    }
}
