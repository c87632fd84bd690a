//! The access token of a person.

use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use zeroize::Zeroizing;

/// A bearer token; wiped from memory when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// The token in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(redacted)")
    }
}

/// Puts the token into every request of a channel (RFC 6750, section 2.1).
#[derive(Clone)]
pub struct BearerToken(MetadataValue<Ascii>);

impl BearerToken {
    /// `None` where the token holds characters that a header cannot.
    pub(crate) fn new(token: &AccessToken) -> Option<Self> {
        let text = Zeroizing::new(format!("Bearer {}", token.expose()));
        let mut value: MetadataValue<Ascii> = text.parse().ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl Interceptor for BearerToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_printed() {
        let token = AccessToken::new("hunter2");
        let bearer = BearerToken::new(&token).unwrap();
        let mut request = Request::new(());
        request = bearer.clone().call(request).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer hunter2");
        for printed in [format!("{token:?}"), format!("{bearer:?}"), format!("{request:?}")] {
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        assert!(BearerToken::new(&AccessToken::new("line\nbreak")).is_none());
    }
}
