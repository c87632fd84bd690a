//! Federations, and whether they work.

use cofide_api::connect::receipt_service::{FederationStatus, federation_status::State};
use cofide_api::types::federation::Federation;
use cofide_api::types::trust_zone::TrustZone;
use serde::Serialize;

use super::moment;
use crate::printer::{Table, View};
use crate::resolve::Directory;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FederationView {
    pub id: String,
    /// The zone that trusts.
    pub trust_zone: String,
    /// The zone that is trusted.
    pub remote_trust_zone: String,
    /// `Healthy`, `Unhealthy`, `Waiting` or `Unknown`.
    pub status: &'static str,
    pub reason: String,
    /// The age of the proof: when the agents have last read their SPIRE servers, the longest ago of them.
    pub observed_at: Option<String>,
    /// Since when it stands so.
    pub since: Option<String>,
}

impl FederationView {
    pub fn new(federation: &Federation, statuses: &[FederationStatus], zones: &Directory<TrustZone>) -> Self {
        let status = statuses.iter().find(|status| status.federation_id == federation.id());
        let (text, reason) = match status {
            Some(status) => (word(status.state()), status.reason.clone()),
            None => ("Unknown", "Connect says nothing about it".to_owned()),
        };
        Self {
            id: federation.id().to_owned(),
            trust_zone: zones.name_of(federation.trust_zone_id()).to_owned(),
            remote_trust_zone: zones.name_of(federation.remote_trust_zone_id()).to_owned(),
            status: text,
            reason,
            observed_at: status.and_then(|status| moment!(status.observed_at)),
            since: status.and_then(|status| moment!(status.since)),
        }
    }
}

/// A state as people and scripts know it.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Healthy => "Healthy",
        State::Unhealthy => "Unhealthy",
        State::Waiting => "Waiting",
        State::Unknown | State::Unspecified => "Unknown",
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct FederationsView(pub Vec<FederationView>);

impl View for FederationsView {
    fn tables(&self) -> Vec<Table> {
        let row = |federation: &FederationView| {
            let FederationView { trust_zone, remote_trust_zone, status, reason, .. } = federation;
            vec![trust_zone.clone(), remote_trust_zone.clone(), (*status).to_owned(), reason.clone()]
        };
        vec![Table::new(["Trust Zone", "Remote Trust Zone", "Status", "Reason"]).rows(self.0.iter().map(row))]
    }
}

/// A federation as it was created, before anybody can have reported on it.
#[derive(Clone, Debug, Serialize)]
pub struct NewFederationView {
    pub id: String,
    pub trust_zone: String,
    pub remote_trust_zone: String,
}

impl View for NewFederationView {
    fn tables(&self) -> Vec<Table> {
        vec![Table::new(["Trust Zone", "Remote Trust Zone"]).rows([vec![self.trust_zone.clone(), self.remote_trust_zone.clone()]])]
    }
}
