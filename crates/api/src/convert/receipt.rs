//! `Receipt` of `proto.connect.receipt_service.v1alpha1`

use cofide_core::{Receipt, ReceiptOutcome};

use super::timestamp;
use crate::connect::receipt_service as proto;

/// `current` says whether the receipt is about what the cluster is meant to have now.
pub fn receipt(receipt: &Receipt, current: bool) -> proto::Receipt {
    let (applied, error_detail) = match &receipt.outcome {
        ReceiptOutcome::Applied => (true, String::new()),
        ReceiptOutcome::Rejected(reason) => (false, reason.clone()),
    };
    proto::Receipt {
        cluster_id: receipt.cluster_id.to_string(),
        agent_id: receipt.agent_id.to_string(),
        type_url: receipt.type_url.clone(),
        resource_name: receipt.resource_name.clone(),
        version: receipt.version.clone(),
        applied,
        error_detail,
        at: Some(timestamp(receipt.at)),
        current,
    }
}
