//! Trust zones.

use cofide_api::types::cluster::Cluster;
use cofide_api::types::trust_zone::{BundleEndpointProfile, TrustZone};
use serde::Serialize;

use super::{NOTHING, joined, moment, or_nothing};
use crate::printer::{Table, View};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrustZoneView {
    pub id: String,
    pub name: String,
    pub trust_domain: String,
    pub bundle_endpoint_url: Option<String>,
    pub bundle_endpoint_profile: Option<&'static str>,
    pub jwt_issuer: Option<String>,
    pub is_management_zone: bool,
    /// Absent while no agent or server of the zone has delivered it.
    pub bundle: Option<BundleView>,
    pub clusters: Vec<String>,
    pub created_at: Option<String>,
    pub last_updated_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleView {
    pub sequence_number: u64,
    pub x509_authorities: usize,
    pub jwt_authorities: usize,
}

impl TrustZoneView {
    pub fn new<'a>(zone: &TrustZone, clusters: impl IntoIterator<Item = &'a Cluster>) -> Self {
        let of_zone = clusters.into_iter().filter(|cluster| cluster.trust_zone_id == zone.id);
        Self {
            id: zone.id().to_owned(),
            name: zone.name.clone(),
            trust_domain: zone.trust_domain.clone(),
            bundle_endpoint_url: zone.bundle_endpoint_url.clone().filter(|url| !url.is_empty()),
            bundle_endpoint_profile: match zone.bundle_endpoint_profile() {
                BundleEndpointProfile::HttpsSpiffe => Some("https_spiffe"),
                BundleEndpointProfile::HttpsWeb => Some("https_web"),
                BundleEndpointProfile::Unspecified => None,
            },
            jwt_issuer: zone.jwt_issuer.clone().filter(|issuer| !issuer.is_empty()),
            is_management_zone: zone.is_management_zone,
            bundle: zone.bundle.as_ref().map(|bundle| BundleView {
                sequence_number: bundle.sequence_number,
                x509_authorities: bundle.x509_authorities.len(),
                jwt_authorities: bundle.jwt_authorities.len(),
            }),
            clusters: of_zone.map(|cluster| cluster.name().to_owned()).collect(),
            created_at: moment!(zone.created_at),
            last_updated_at: moment!(zone.last_updated_at),
        }
    }

    fn clusters(&self) -> String {
        or_nothing(Some(&joined(&self.clusters)))
    }
}

impl View for TrustZoneView {
    fn tables(&self) -> Vec<Table> {
        let bundle = self.bundle.as_ref().map_or(NOTHING.to_owned(), |bundle| {
            format!(
                "X.509 authorities: {}, JWT authorities: {}, sequence number: {}",
                bundle.x509_authorities, bundle.jwt_authorities, bundle.sequence_number
            )
        });
        vec![Table::of_fields([
            ("Name", self.name.clone()),
            ("ID", self.id.clone()),
            ("Trust Domain", self.trust_domain.clone()),
            ("Clusters", self.clusters()),
            ("Bundle", bundle),
            ("Bundle Endpoint URL", or_nothing(self.bundle_endpoint_url.as_deref())),
            ("Bundle Endpoint Profile", or_nothing(self.bundle_endpoint_profile)),
            ("JWT Issuer", or_nothing(self.jwt_issuer.as_deref())),
            ("Management Zone", self.is_management_zone.to_string()),
        ])]
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct TrustZonesView(pub Vec<TrustZoneView>);

impl View for TrustZonesView {
    fn tables(&self) -> Vec<Table> {
        let row = |zone: &TrustZoneView| vec![zone.name.clone(), zone.trust_domain.clone(), zone.clusters()];
        vec![Table::new(["Name", "Trust Domain", "Clusters"]).rows(self.0.iter().map(row))]
    }
}
