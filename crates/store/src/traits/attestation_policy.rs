use async_trait::async_trait;
use cofide_core::{AttestationPolicy, AttestationPolicyId};

use crate::{AttestationPolicyFilter, Result};

#[async_trait]
pub trait AttestationPolicies: Send {
    async fn attestation_policy(&mut self, id: &AttestationPolicyId) -> Result<Option<AttestationPolicy>>;
    /// By name.
    async fn attestation_policies(&mut self, filter: &AttestationPolicyFilter) -> Result<Vec<AttestationPolicy>>;
}

#[async_trait]
pub trait AttestationPoliciesMut: AttestationPolicies {
    /// The id and the name must be new.
    async fn insert_attestation_policy(&mut self, policy: &AttestationPolicy) -> Result<()>;
    async fn update_attestation_policy(&mut self, policy: &AttestationPolicy) -> Result<()>;
    /// [`InUse`](crate::StoreError::InUse) while it is bound.
    async fn delete_attestation_policy(&mut self, id: &AttestationPolicyId) -> Result<()>;
}
