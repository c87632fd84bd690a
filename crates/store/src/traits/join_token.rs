use async_trait::async_trait;
use cofide_core::{ClusterId, JoinToken, JoinTokenHash, Timestamp};

use crate::Result;

#[async_trait]
pub trait JoinTokens: Send {
    /// The token with this hash, whether or not it has expired.
    async fn join_token(&mut self, hash: &JoinTokenHash) -> Result<Option<JoinToken>>;
    /// The token of a cluster, whether or not it has expired.
    async fn join_token_of_cluster(&mut self, cluster: &ClusterId) -> Result<Option<JoinToken>>;
}

/// What came of the attempt to use a join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinTokenUse {
    /// The token is good.
    Valid(JoinToken),
    /// The token was good once.
    Expired(JoinToken),
    /// No such token: never made, used already, or replaced by a newer one.
    Unknown,
}

impl JoinTokenUse {
    /// What a token that was looked for is good for. It is good until, and not at, the moment of its expiry.
    pub fn of(found: Option<JoinToken>, now: Timestamp) -> Self {
        match found {
            Some(token) if now < token.expires_at => Self::Valid(token),
            Some(token) => Self::Expired(token),
            None => Self::Unknown,
        }
    }
}

#[async_trait]
pub trait JoinTokensMut: JoinTokens {
    /// Takes the place of an older token for the same trust zone and cluster.
    async fn put_join_token(&mut self, token: &JoinToken) -> Result<()>;
    /// Deletes the token and answers what it was good for. Of two attempts with one token only one finds it.
    ///
    /// As everything in a transaction this happens at its commit: a caller that finds the token to be for another cluster
    /// than the one that asks drops the transaction, and the rightful owner can still use it.
    async fn consume_join_token(&mut self, hash: &JoinTokenHash, now: Timestamp) -> Result<JoinTokenUse>;
    /// Deletes all tokens that have expired; answers how many.
    async fn purge_expired_join_tokens(&mut self, now: Timestamp) -> Result<u64>;
}
