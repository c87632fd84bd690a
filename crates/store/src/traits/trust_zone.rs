use async_trait::async_trait;
use cofide_core::{TrustZone, TrustZoneId};

use crate::{Result, TrustZoneFilter};

#[async_trait]
pub trait TrustZones: Send {
    async fn trust_zone(&mut self, id: &TrustZoneId) -> Result<Option<TrustZone>>;
    /// By name.
    async fn trust_zones(&mut self, filter: &TrustZoneFilter) -> Result<Vec<TrustZone>>;
}

#[async_trait]
pub trait TrustZonesMut: TrustZones {
    /// The id, the name and the trust domain must be new.
    async fn insert_trust_zone(&mut self, zone: &TrustZone) -> Result<()>;
    async fn update_trust_zone(&mut self, zone: &TrustZone) -> Result<()>;
    /// Takes the zone's bindings, its federations on either side, and its mention in the bindings of others with it.
    /// [`InUse`](crate::StoreError::InUse) while it has clusters.
    async fn delete_trust_zone(&mut self, id: &TrustZoneId) -> Result<()>;
}
