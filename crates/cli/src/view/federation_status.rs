//! Both directions between two trust zones, in detail.

use cofide_api::connect::receipt_service::{ClusterStatus, DirectionStatus, FoundBundle, GetFederationStatusResponse};
use cofide_api::types::cluster::Cluster;
use cofide_api::types::trust_zone::TrustZone;
use cofide_core::Timestamp;
use prost_types::Timestamp as Moment;
use serde::Serialize;

use super::federation::word;
use super::{NOTHING, from, moment, or_nothing};
use crate::printer::{Table, View};
use crate::resolve::Directory;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FederationStatusView {
    pub directions: Vec<DirectionView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectionView {
    /// The zone that trusts.
    pub trust_zone: String,
    /// The zone that is trusted.
    pub remote_trust_zone: String,
    /// `Healthy`, `Unhealthy`, `Waiting`, `Unknown`, or `None` where there is no such federation.
    pub status: &'static str,
    pub reason: String,
    pub since: Option<String>,
    pub observed_at: Option<String>,
    /// What the remote zone has delivered to Connect; absent while it has not.
    pub delivered: Option<BundleView>,
    pub clusters: Vec<HoldingView>,
    #[serde(skip)]
    ages: [String; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleView {
    pub digest: String,
    pub sequence_number: u64,
    /// When the zone's entry in Connect has last changed.
    pub at: Option<String>,
    #[serde(skip)]
    age: String,
}

/// What the SPIRE server of one cluster holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HoldingView {
    pub cluster: String,
    pub status: &'static str,
    pub reason: String,
    pub digest: Option<String>,
    pub sequence_number: Option<u64>,
    pub since: Option<String>,
    pub read_at: Option<String>,
    #[serde(skip)]
    ages: [String; 2],
}

impl FederationStatusView {
    pub fn new(answer: &GetFederationStatusResponse, zones: &Directory<TrustZone>, clusters: &Directory<Cluster>, now: Timestamp) -> Self {
        let directions = answer.direction.iter().chain(&answer.reverse);
        Self { directions: directions.map(|direction| DirectionView::new(direction, zones, clusters, now)).collect() }
    }
}

impl DirectionView {
    fn new(direction: &DirectionStatus, zones: &Directory<TrustZone>, clusters: &Directory<Cluster>, now: Timestamp) -> Self {
        let status = direction.federation.as_ref();
        let [trust_zone, remote_trust_zone] =
            [&direction.trust_zone_id, &direction.remote_trust_zone_id].map(|id| zones.name_of(id).to_owned());
        let absent =
            || format!("no federation; cofidectl federation add --trust-zone {trust_zone} --remote-trust-zone {remote_trust_zone}");
        let delivered_at = direction.delivered_at;
        Self {
            status: status.map_or("None", |status| word(status.state())),
            reason: status.map_or_else(absent, |status| status.reason.clone()),
            since: status.and_then(|status| moment!(status.since)),
            observed_at: status.and_then(|status| moment!(status.observed_at)),
            delivered: direction.delivered.as_ref().map(|bundle| BundleView {
                digest: bundle.digest.clone(),
                sequence_number: bundle.sequence_number,
                at: moment!(delivered_at),
                age: ago(delivered_at, now),
            }),
            clusters: direction.clusters.iter().map(|cluster| HoldingView::new(cluster, clusters, now)).collect(),
            ages: [status.and_then(|status| status.since), status.and_then(|status| status.observed_at)].map(|at| ago(at, now)),
            trust_zone,
            remote_trust_zone,
        }
    }
}

impl HoldingView {
    fn new(status: &ClusterStatus, clusters: &Directory<Cluster>, now: Timestamp) -> Self {
        let held: Option<&FoundBundle> = status.held.as_ref();
        Self {
            cluster: clusters.name_of(&status.cluster_id).to_owned(),
            status: word(status.state()),
            reason: status.reason.clone(),
            digest: held.map(|held| held.digest.clone()),
            sequence_number: held.map(|held| held.sequence_number),
            since: moment!(status.since),
            read_at: moment!(status.read_at),
            ages: [status.since, status.read_at].map(|at| ago(at, now)),
        }
    }
}

fn ago(at: Option<Moment>, now: Timestamp) -> String {
    at.as_ref().map_or_else(|| NOTHING.to_owned(), |at| from(at).age(now).ago())
}

/// As much of a digest as a person compares; JSON and YAML have all of it.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

impl View for FederationStatusView {
    fn tables(&self) -> Vec<Table> {
        let direction = |direction: &DirectionView| {
            let DirectionView { trust_zone, remote_trust_zone, status, reason, ages: [since, observed], .. } = direction;
            vec![trust_zone.clone(), remote_trust_zone.clone(), (*status).to_owned(), since.clone(), observed.clone(), reason.clone()]
        };
        let delivered = |direction: &DirectionView| {
            let bundle = direction.delivered.as_ref();
            vec![
                direction.remote_trust_zone.clone(),
                or_nothing(bundle.map(|bundle| short(&bundle.digest)).as_deref()),
                bundle.map_or_else(|| NOTHING.to_owned(), |bundle| bundle.sequence_number.to_string()),
                bundle.map_or_else(|| NOTHING.to_owned(), |bundle| bundle.age.clone()),
            ]
        };
        let held = |of: &DirectionView, holding: &HoldingView| {
            let HoldingView { cluster, status, reason, digest, sequence_number, ages: [since, read], .. } = holding;
            vec![
                of.remote_trust_zone.clone(),
                format!("{}/{cluster}", of.trust_zone),
                (*status).to_owned(),
                or_nothing(digest.as_deref().map(short).as_deref()),
                sequence_number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string()),
                since.clone(),
                read.clone(),
                reason.clone(),
            ]
        };
        let holdings = self.directions.iter().flat_map(|of| of.clusters.iter().map(move |holding| held(of, holding)));
        vec![
            Table::new(["Trust Zone", "Remote Trust Zone", "Status", "Since", "Proven", "Reason"])
                .rows(self.directions.iter().map(direction)),
            Table::new(["Bundle Of", "Digest", "Sequence", "Changed"])
                .title("Delivered to Connect")
                .rows(self.directions.iter().map(delivered)),
            Table::new(["Bundle Of", "Held In", "Status", "Digest", "Sequence", "Since", "Read", "Reason"])
                .title("Held by SPIRE servers")
                .rows(holdings),
        ]
    }
}
