//! Bindings of attestation policies, and the bundles that their workloads wait for.

use cofide_api::connect::receipt_service::{BindingStatus, binding_status, federation_status::State};
use cofide_api::types::ap_binding::ApBinding;
use cofide_api::types::attestation_policy::AttestationPolicy;
use cofide_api::types::trust_zone::TrustZone;
use cofide_core::Timestamp;
use serde::Serialize;

use super::federation::word;
use super::{NOTHING, format, from, joined, moment};
use crate::printer::{Table, View};
use crate::resolve::Directory;

/// A binding as it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingView {
    pub id: String,
    pub trust_zone: String,
    pub attestation_policy: String,
    /// Those that are named, then those that the patterns stand for at this moment.
    pub federates_with: Vec<String>,
    pub federates_with_patterns: Vec<String>,
    pub created_at: Option<String>,
    pub last_updated_at: Option<String>,
}

/// A binding and how it stands with each bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingStatusView {
    #[serde(flatten)]
    pub binding: BindingView,
    /// `Healthy`, `Unhealthy`, `Waiting` or `Unknown`: the worst of the partners; absent where there are none.
    pub status: Option<&'static str>,
    pub partners: Vec<PartnerView>,
    /// Zones that the patterns match beyond the bound: their bundles are not given.
    pub left_out: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartnerView {
    pub trust_zone: String,
    pub status: &'static str,
    pub reason: String,
    pub since: Option<String>,
    #[serde(skip)]
    at: Option<Timestamp>,
    #[serde(skip)]
    age: String,
    #[serde(skip)]
    badness: u8,
}

impl BindingView {
    pub fn new(binding: &ApBinding, zones: &Directory<TrustZone>, policies: &Directory<AttestationPolicy>) -> Self {
        let partners = binding.federations.iter().map(|partner| zones.name_of(partner.trust_zone_id()).to_owned());
        Self {
            id: binding.id().to_owned(),
            trust_zone: zones.name_of(binding.trust_zone_id()).to_owned(),
            attestation_policy: policies.name_of(binding.policy_id()).to_owned(),
            federates_with: partners.collect(),
            federates_with_patterns: binding.federates_with_patterns.clone(),
            created_at: moment!(binding.created_at),
            last_updated_at: moment!(binding.last_updated_at),
        }
    }

    /// Everything that the binding federates with, and the patterns behind it.
    pub fn partners(&self) -> String {
        let zones = joined(&self.federates_with);
        match (self.federates_with_patterns.as_slice(), zones.as_str()) {
            ([], _) => zones,
            (patterns, "") => format!("({})", joined(patterns)),
            (patterns, _) => format!("{zones} ({})", joined(patterns)),
        }
    }
}

impl View for BindingView {
    fn tables(&self) -> Vec<Table> {
        let row = vec![self.trust_zone.clone(), self.attestation_policy.clone(), self.partners()];
        vec![Table::new(["Trust Zone", "Attestation Policy", "Federates With"]).rows([row])]
    }
}

impl BindingStatusView {
    pub fn new(binding: BindingView, statuses: &[BindingStatus], zones: &Directory<TrustZone>, now: Timestamp) -> Self {
        let status = statuses.iter().find(|status| status.binding_id == binding.id);
        let partners = status.into_iter().flat_map(|status| &status.partners).map(|partner| PartnerView::new(partner, zones, now));
        let partners: Vec<_> = partners.collect();
        let worst = partners.iter().max_by_key(|partner| partner.badness).map(|partner| partner.status);
        Self { binding, status: worst, left_out: status.map_or(0, |status| status.left_out), partners }
    }

    /// The worst, and who is concerned since when, in one cell.
    fn summary(&self) -> String {
        let Some(status) = self.status else { return NOTHING.to_owned() };
        let concerned = self.partners.iter().filter(|partner| partner.status == status);
        // To the second, so that cells are equally wide.
        let named = |PartnerView { trust_zone, at, .. }: &PartnerView| match at {
            Some(at) => format!("{trust_zone} since {}", format(Timestamp::from_seconds(at.as_seconds()))),
            None => trust_zone.clone(),
        };
        let named = concerned.map(named).collect::<Vec<_>>().join(", ");
        let left_out = match self.left_out {
            0 => String::new(),
            count => format!("; {count} matching zones beyond the bound are left out"),
        };
        match status {
            "Healthy" => format!("{status}{left_out}"),
            "Waiting" => format!("Waiting for {named}{left_out}"),
            _ => format!("{status}: {named}{left_out}"),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![self.binding.trust_zone.clone(), self.binding.attestation_policy.clone(), self.binding.partners(), self.summary()]
    }
}

impl PartnerView {
    fn new(partner: &binding_status::Partner, zones: &Directory<TrustZone>, now: Timestamp) -> Self {
        let badness = match partner.state() {
            State::Healthy => 0,
            State::Unknown | State::Unspecified => 1,
            State::Waiting => 2,
            State::Unhealthy => 3,
        };
        Self {
            trust_zone: zones.name_of(&partner.trust_zone_id).to_owned(),
            status: word(partner.state()),
            reason: partner.reason.clone(),
            since: moment!(partner.since),
            at: partner.since.as_ref().map(from),
            age: partner.since.as_ref().map_or_else(|| NOTHING.to_owned(), |since| from(since).age(now).to_string()),
            badness,
        }
    }
}

const HEADER: [&str; 4] = ["Trust Zone", "Attestation Policy", "Federates With", "Status"];

impl View for BindingStatusView {
    fn tables(&self) -> Vec<Table> {
        let row = |partner: &PartnerView| {
            let PartnerView { trust_zone, status, age, reason, .. } = partner;
            vec![trust_zone.clone(), (*status).to_owned(), age.clone(), reason.clone()]
        };
        vec![
            Table::new(HEADER).rows([self.row()]),
            Table::new(["Bundle Of", "Status", "Since", "Reason"]).title("Bundles").rows(self.partners.iter().map(row)),
        ]
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct BindingsView(pub Vec<BindingStatusView>);

impl View for BindingsView {
    fn tables(&self) -> Vec<Table> {
        vec![Table::new(HEADER).rows(self.0.iter().map(BindingStatusView::row))]
    }
}
