use async_trait::async_trait;
use cofide_core::{ClusterId, JoinToken, JoinTokenHash, Timestamp};

use super::columns::Columns;
use super::connection::Row;
use super::statement::{Statement, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::{JoinTokenUse, JoinTokens, JoinTokensMut, Result};

const NOUN: &str = "join token";

const PUT: &str = "INSERT INTO join_token (hash, trust_zone_id, cluster_id, expires_at, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (trust_zone_id, cluster_id) DO UPDATE SET
    hash = excluded.hash, expires_at = excluded.expires_at, created_at = excluded.created_at";

fn join_token(row: &Row) -> Result<JoinToken> {
    let columns = Columns::of(NOUN, row);
    Ok(JoinToken {
        hash: JoinTokenHash(columns.converted("hash", columns.plain::<&[u8]>("hash")?.try_into())?),
        trust_zone_id: columns.parsed("trust_zone_id")?,
        cluster_id: columns.parsed("cluster_id")?,
        expires_at: columns.timestamp("expires_at")?,
        created_at: columns.timestamp("created_at")?,
    })
}

#[async_trait]
impl<Access: Send> JoinTokens for Transaction<Access> {
    async fn join_token(&mut self, hash: &JoinTokenHash) -> Result<Option<JoinToken>> {
        let select = Statement::new("SELECT * FROM join_token WHERE hash = $1").bind(&hash.0[..]);
        select.row(self.connection()).await?.as_ref().map(join_token).transpose()
    }

    async fn join_token_of_cluster(&mut self, cluster: &ClusterId) -> Result<Option<JoinToken>> {
        let select = Statement::new("SELECT * FROM join_token WHERE cluster_id = $1").bind(cluster.as_str());
        select.row(self.connection()).await?.as_ref().map(join_token).transpose()
    }
}

#[async_trait]
impl JoinTokensMut for WriteTransaction {
    async fn put_join_token(&mut self, token: &JoinToken) -> Result<()> {
        let put = Statement::new(PUT)
            .bind(&token.hash.0[..])
            .bind(token.trust_zone_id.as_str())
            .bind(token.cluster_id.as_str())
            .bind(token.expires_at.as_micros())
            .bind(token.created_at.as_micros());
        write(self.connection(), put, NOUN, token.cluster_id.as_str()).await?;
        Ok(())
    }

    async fn consume_join_token(&mut self, hash: &JoinTokenHash, now: Timestamp) -> Result<JoinTokenUse> {
        let delete = Statement::new("DELETE FROM join_token WHERE hash = $1 RETURNING *").bind(&hash.0[..]);
        let deleted = delete.row(self.connection()).await?.as_ref().map(join_token).transpose()?;
        Ok(JoinTokenUse::of(deleted, now))
    }

    async fn purge_expired_join_tokens(&mut self, now: Timestamp) -> Result<u64> {
        let delete = Statement::new("DELETE FROM join_token WHERE expires_at <= $1").bind(now.as_micros());
        Ok(delete.execute(self.connection()).await?)
    }
}
