//! The bundle readings of `proto.connect.receipt_service.v1alpha1`

use std::collections::BTreeMap;
use std::time::Duration;

use cofide_core::{FoundBundle, TrustDomain, parse_trust_domain};

use super::{FieldError, each, parse, trust_domain};
use crate::connect::receipt_service as proto;

/// What an agent tells of one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub bundles: BTreeMap<TrustDomain, FoundBundle>,
    /// How long ago the server was read.
    pub age: Duration,
}

impl TryFrom<&proto::ReportHeldBundlesRequest> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::ReportHeldBundlesRequest) -> Result<Self, FieldError> {
        let bundles = each("bundles", &message.bundles, |held| {
            let found = held.found.as_ref().ok_or_else(|| FieldError::missing("found"))?;
            let digest = parse("found.digest", &found.digest)?;
            let found = FoundBundle { digest, sequence_number: found.sequence_number };
            Ok((trust_domain("trust_domain", &held.trust_domain)?, found))
        })?;
        let age = message.age.unwrap_or_default().try_into().map_err(|_| FieldError::new("age", "must not be negative"))?;
        Ok(Self { bundles: bundles.into_iter().collect(), age })
    }
}

impl From<&Draft> for proto::ReportHeldBundlesRequest {
    /// Names that no trust domain of Connect's can have are left out: nobody asks for them.
    fn from(draft: &Draft) -> Self {
        let of_interest = draft.bundles.iter().filter(|(trust_domain, _)| parse_trust_domain(trust_domain.as_str()).is_ok());
        let held = |(trust_domain, found): (&TrustDomain, &FoundBundle)| proto::report_held_bundles_request::HeldBundle {
            trust_domain: trust_domain.to_string(),
            found: Some(found.into()),
        };
        let age = prost_types::Duration::try_from(draft.age).unwrap_or_default();
        Self { bundles: of_interest.map(held).collect(), age: Some(age) }
    }
}

impl From<&FoundBundle> for proto::FoundBundle {
    fn from(found: &FoundBundle) -> Self {
        Self { digest: found.digest.to_string(), sequence_number: found.sequence_number }
    }
}
