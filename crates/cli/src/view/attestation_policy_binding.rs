//! Bindings of attestation policies.

use cofide_api::types::ap_binding::ApBinding;
use cofide_api::types::attestation_policy::AttestationPolicy;
use cofide_api::types::trust_zone::TrustZone;
use serde::Serialize;

use super::{joined, moment};
use crate::printer::{Table, View};
use crate::resolve::Directory;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingView {
    pub id: String,
    pub trust_zone: String,
    pub attestation_policy: String,
    pub federates_with: Vec<String>,
    pub created_at: Option<String>,
    pub last_updated_at: Option<String>,
}

impl BindingView {
    pub fn new(binding: &ApBinding, zones: &Directory<TrustZone>, policies: &Directory<AttestationPolicy>) -> Self {
        let partners = binding.federations.iter().map(|partner| zones.name_of(partner.trust_zone_id()).to_owned());
        Self {
            id: binding.id().to_owned(),
            trust_zone: zones.name_of(binding.trust_zone_id()).to_owned(),
            attestation_policy: policies.name_of(binding.policy_id()).to_owned(),
            federates_with: partners.collect(),
            created_at: moment!(binding.created_at),
            last_updated_at: moment!(binding.last_updated_at),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![self.trust_zone.clone(), self.attestation_policy.clone(), joined(&self.federates_with)]
    }
}

const HEADER: [&str; 3] = ["Trust Zone", "Attestation Policy", "Federates With"];

impl View for BindingView {
    fn tables(&self) -> Vec<Table> {
        vec![Table::new(HEADER).rows([self.row()])]
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct BindingsView(pub Vec<BindingView>);

impl View for BindingsView {
    fn tables(&self) -> Vec<Table> {
        vec![Table::new(HEADER).rows(self.0.iter().map(BindingView::row))]
    }
}
