//! Users, by the access token in the `authorization` header (RFC 6750, section 2.1).
//!
//! [`TokenVerifier`] is the seam: today one credential exists, the administrator's; a verifier for the tokens of an
//! OpenID Connect issuer is another implementation and nothing else changes.

use async_trait::async_trait;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::caller::User;
use crate::error::{Error, Result};

/// Decides whose an access token is.
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Fails with [`Error::Unauthenticated`] where the token is nobody's.
    async fn verify(&self, token: &str) -> Result<User>;
}

/// The token of the request, if it carries one.
pub fn token(headers: &HeaderMap) -> Result<Option<&str>> {
    let unreadable = |what: &str| Err(Error::Unauthenticated(format!("the authorization header {what}; send one: Bearer <token>")));
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return unreadable("is there more than once");
    }
    let Ok(value) = value.to_str() else { return unreadable("is not text") };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => Ok(Some(token.trim())),
        _ => unreadable("is not a bearer token"),
    }
}

/// The administrator's credential. Only its hash is kept in memory.
pub struct AdminToken {
    hash: [u8; 32],
}

impl AdminToken {
    pub fn new(token: &str) -> Self {
        Self { hash: Sha256::digest(token).into() }
    }
}

#[async_trait]
impl TokenVerifier for AdminToken {
    async fn verify(&self, token: &str) -> Result<User> {
        // Comparing hashes in constant time tells nothing about the token, whatever its length.
        let hash: [u8; 32] = Sha256::digest(token).into();
        if bool::from(hash.ct_eq(&self.hash)) {
            return Ok(User { subject: "admin".into() });
        }
        Err(Error::Unauthenticated("the access token is not valid here; use the admin credential that cofide-connect wrote".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        token(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn a_token_is_one_bearer_value() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["Bearer abc"]).unwrap().as_deref(), Some("abc"));
        assert_eq!(read(&["bearer  abc "]).unwrap().as_deref(), Some("abc"));
        for bad in [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"]] {
            assert!(matches!(read(bad), Err(Error::Unauthenticated(_))), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn only_the_token_itself_is_the_administrators() {
        let admin = AdminToken::new("secret");
        assert_eq!(admin.verify("secret").await.unwrap().subject, "admin");
        for other in ["", "secret2", "Secret", "secre"] {
            let error = admin.verify(other).await.unwrap_err();
            assert!(matches!(error, Error::Unauthenticated(_)));
            assert!(other.is_empty() || !error.to_string().contains(other), "the token is not repeated: {error}");
        }
    }
}
