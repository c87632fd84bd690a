use async_trait::async_trait;
use cofide_core::{AttestationPolicyBinding, AttestationPolicyBindingId};

use crate::{AttestationPolicyBindingFilter, Result};

#[async_trait]
pub trait AttestationPolicyBindings: Send {
    async fn attestation_policy_binding(&mut self, id: &AttestationPolicyBindingId) -> Result<Option<AttestationPolicyBinding>>;
    /// The oldest first.
    async fn attestation_policy_bindings(&mut self, filter: &AttestationPolicyBindingFilter) -> Result<Vec<AttestationPolicyBinding>>;
}

#[async_trait]
pub trait AttestationPolicyBindingsMut: AttestationPolicyBindings {
    /// The id must be new, and the policy in this trust zone.
    async fn insert_attestation_policy_binding(&mut self, binding: &AttestationPolicyBinding) -> Result<()>;
    async fn update_attestation_policy_binding(&mut self, binding: &AttestationPolicyBinding) -> Result<()>;
    async fn delete_attestation_policy_binding(&mut self, id: &AttestationPolicyBindingId) -> Result<()>;
}
