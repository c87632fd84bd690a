use async_trait::async_trait;

use super::columns::Columns;
use super::statement::{Statement, write};
use super::transaction::{Transaction, WriteTransaction};
use crate::{ControlPlaneSecrets, ControlPlaneSecretsMut, Result};

const NOUN: &str = "secret of the control plane";

const PUT: &str = "INSERT INTO control_plane_secret (name, content) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET content = excluded.content";

#[async_trait]
impl<Access: Send> ControlPlaneSecrets for Transaction<Access> {
    async fn control_plane_secret(&mut self, name: &str) -> Result<Option<String>> {
        let row = Statement::new("SELECT content FROM control_plane_secret WHERE name = $1").bind(name).row(self.connection()).await?;
        row.map(|row| Columns::of(NOUN, &row).plain("content")).transpose()
    }
}

#[async_trait]
impl ControlPlaneSecretsMut for WriteTransaction {
    async fn put_control_plane_secret(&mut self, name: &str, content: &str) -> Result<()> {
        write(self.connection(), Statement::new(PUT).bind(name).bind(content), NOUN, name).await?;
        Ok(())
    }
}
