//! Why a client did not take a response, and how that is written into a request.
//!
//! A NACK is a `google.rpc.Status`. Its message is for people; which resources of the response were bad is written into
//! its details, one `envoy.service.discovery.v3.ResourceError` each. Envoy gives a message only.

use std::collections::BTreeMap;

use prost::{Message, Name};

use crate::Any;
use crate::envoy::envoy::service::discovery::v3::{ResourceError, ResourceName};
use crate::envoy::google::rpc;

const INVALID_ARGUMENT: i32 = 3;

/// Why a client rejected a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    pub message: String,
    /// Reason by resource name, where the client says which resources it rejected; it applied the others. Empty where it
    /// does not say: then nothing is known to have been applied.
    pub resources: BTreeMap<String, String>,
}

impl Rejection {
    /// A rejection of the whole response.
    pub fn of_all(message: impl Into<String>) -> Self {
        Self { message: message.into(), resources: BTreeMap::new() }
    }

    /// A rejection of some resources, reason by name; the others were applied.
    pub fn of(resources: BTreeMap<String, String>) -> Self {
        let reasons: Vec<String> = resources.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        Self { message: reasons.join("; "), resources }
    }

    pub(crate) fn from_status(status: rpc::Status) -> Self {
        let named = |detail: Any| {
            let error = (detail.type_url == ResourceError::type_url()).then(|| ResourceError::decode(detail.value.as_slice()).ok())??;
            Some((error.resource_name?.name, error.error_detail.unwrap_or_default().message))
        };
        Self { message: status.message, resources: status.details.into_iter().filter_map(named).collect() }
    }

    pub(crate) fn into_status(self) -> rpc::Status {
        let status = |message: String, details: Vec<Any>| rpc::Status { code: INVALID_ARGUMENT, message, details };
        let detail = |(name, reason): (String, String)| {
            let resource_name = Some(ResourceName { name, ..ResourceName::default() });
            let error = ResourceError { resource_name, error_detail: Some(status(reason, Vec::new())) };
            Any { type_url: ResourceError::type_url(), value: error.encode_to_vec() }
        };
        let details = self.resources.into_iter().map(detail).collect();
        status(self.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_of_some_resources_survives_the_wire() {
        let rejection = Rejection::of(BTreeMap::from([("a".into(), "no port".into()), ("b".into(), "no name".into())]));
        assert_eq!(rejection.message, "a: no port; b: no name");
        assert_eq!(Rejection::from_status(rejection.clone().into_status()), rejection);
    }

    #[test]
    fn details_that_say_nothing_are_ignored() {
        let detail = |type_url: &str, value: &[u8]| Any { type_url: type_url.into(), value: value.to_vec() };
        let details = vec![detail("other", b""), detail(&ResourceError::type_url(), b"\xff"), detail(&ResourceError::type_url(), b"")];
        let status = rpc::Status { code: 3, message: "bad".into(), details };
        assert_eq!(Rejection::from_status(status), Rejection::of_all("bad"));
    }
}
