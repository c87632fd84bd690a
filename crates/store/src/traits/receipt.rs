use std::collections::BTreeMap;

use async_trait::async_trait;
use cofide_core::{AgentId, ClusterId, Receipt, Timestamp};

use crate::{ReceiptFilter, Result};

#[async_trait]
pub trait Receipts: Send {
    /// By cluster, type and resource name.
    async fn receipts(&mut self, filter: &ReceiptFilter) -> Result<Vec<Receipt>>;
    /// When each cluster's agent has last sent one of these; a cluster from which there is none is missing.
    async fn latest_receipts(&mut self, filter: &ReceiptFilter) -> Result<BTreeMap<ClusterId, Timestamp>>;
}

#[async_trait]
pub trait ReceiptsMut: Receipts {
    /// Takes the place of what the agent said before about the same resource.
    async fn put_receipt(&mut self, receipt: &Receipt) -> Result<()>;
    /// For a resource that the agent no longer has. It is no error where there was no receipt.
    async fn delete_receipt(&mut self, agent: &AgentId, type_url: &str, resource_name: &str) -> Result<()>;
}
