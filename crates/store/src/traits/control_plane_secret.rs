use async_trait::async_trait;

use crate::Result;

/// What the control plane keeps for itself, by name: texts that nobody but it may read.
#[async_trait]
pub trait ControlPlaneSecrets: Send {
    async fn control_plane_secret(&mut self, name: &str) -> Result<Option<String>>;
}

#[async_trait]
pub trait ControlPlaneSecretsMut: ControlPlaneSecrets {
    /// Takes the place of what was there under the name.
    async fn put_control_plane_secret(&mut self, name: &str, content: &str) -> Result<()>;
}
