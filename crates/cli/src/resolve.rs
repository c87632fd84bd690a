//! From the names that people type to the ids that Connect goes by, and back.
//!
//! A command loads the directories that it needs once and looks everything up in them. Where a name is expected an id
//! will do too; a name wins.

use cofide_api::connect::attestation_policy_service::ListAttestationPoliciesRequest;
use cofide_api::connect::cluster_service::ListClustersRequest;
use cofide_api::connect::cluster_service::list_clusters_request;
use cofide_api::connect::trust_zone_service::ListTrustZonesRequest;
use cofide_api::types::attestation_policy::AttestationPolicy;
use cofide_api::types::cluster::Cluster;
use cofide_api::types::trust_zone::TrustZone;

use crate::connection::{Connection, call};
use crate::error::{Error, Result};

/// A noun that people call by a name.
pub trait Named {
    const NOUN: &'static str;
    /// The command that shows which there are.
    const LIST: &'static str;

    fn id(&self) -> &str;
    fn name(&self) -> &str;
}

impl Named for TrustZone {
    const NOUN: &'static str = "trust zone";
    const LIST: &'static str = "cofidectl trust-zone list";

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Cluster {
    const NOUN: &'static str = "cluster";
    const LIST: &'static str = "cofidectl cluster list";

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

impl Named for AttestationPolicy {
    const NOUN: &'static str = "attestation policy";
    const LIST: &'static str = "cofidectl attestation-policy list";

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// What somebody may have meant who wrote a name that is not there.
///
/// People count with names: `trust-zone-b` beside `trust-zone-a`, `node10` beside `node1`. Those are not slips of each other,
/// and who follows such a suggestion changes another thing than the one they mean.
pub fn meant<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    cofide_core::closest(wanted, names.into_iter().filter(|name| !are_siblings(wanted, name)))
}

/// Whether two names differ only where they count: by single letters between separators, or by numbers.
fn are_siblings(one: &str, other: &str) -> bool {
    let stem = |part: &str| part.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    let counts = |(a, b): (&str, &str)| {
        let is_letter = |part: &str| part.len() == 1;
        let is_numbered = |part: &str| part.ends_with(|c: char| c.is_ascii_digit());
        a == b || is_letter(a) && is_letter(b) || is_numbered(a) && is_numbered(b) && stem(a) == stem(b)
    };
    let parts = |name| str::split(name, ['-', '.', '_']);
    parts(one).count() == parts(other).count() && parts(one).zip(parts(other)).all(counts)
}

/// All objects of a noun, by name.
#[derive(Clone, Debug)]
pub struct Directory<T>(Vec<T>);

impl<T: Named> Directory<T> {
    pub fn new(mut objects: Vec<T>) -> Self {
        objects.sort_by(|a, b| a.name().cmp(b.name()));
        Self(objects)
    }

    /// In the order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// By name, else by id.
    pub fn find(&self, wanted: &str) -> Result<&T> {
        let by = |key: fn(&T) -> &str| self.0.iter().find(|object| key(object) == wanted);
        by(T::name).or_else(|| by(T::id)).ok_or_else(|| {
            let error = Error::failed(format!("{} {wanted:?} not found", T::NOUN));
            match meant(wanted, self.0.iter().map(T::name)) {
                Some(name) => error.hint(format!("did you mean {name}?")),
                None => error.hint(format!("{} shows which there are", T::LIST)),
            }
        })
    }

    /// The name of an id; the id itself where nothing has it, so that a dangling reference is seen and not hidden.
    pub fn name_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.iter().find(|object| object.id() == id).map_or(id, T::name)
    }
}

pub async fn trust_zones(connection: &Connection) -> Result<Directory<TrustZone>> {
    let answer = call(connection.trust_zones().list_trust_zones(ListTrustZonesRequest::default())).await?;
    Ok(Directory::new(answer.trust_zones))
}

/// The clusters of one zone, or of all.
pub async fn clusters(connection: &Connection, zone: Option<&TrustZone>) -> Result<Directory<Cluster>> {
    let filter = zone.map(|zone| list_clusters_request::Filter { trust_zone_id: zone.id.clone(), ..Default::default() });
    let answer = call(connection.clusters().list_clusters(ListClustersRequest { filter })).await?;
    Ok(Directory::new(answer.clusters))
}

/// One cluster of a zone: its name says little without that of the zone.
pub async fn cluster_in(connection: &Connection, zone: &TrustZone, wanted: &str) -> Result<Cluster> {
    let clusters = clusters(connection, Some(zone)).await?;
    clusters.find(wanted).cloned().map_err(|error| match error {
        Error::Failed { message, hint } => Error::Failed { message: format!("{message} in trust zone {}", zone.name), hint },
        other => other,
    })
}

pub async fn policies(connection: &Connection) -> Result<Directory<AttestationPolicy>> {
    let request = ListAttestationPoliciesRequest::default();
    let answer = call(connection.attestation_policies().list_attestation_policies(request)).await?;
    Ok(Directory::new(answer.policies))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Directory<TrustZone> {
        let zone = |id: &str, name: &str| TrustZone { id: Some(id.into()), name: name.into(), ..Default::default() };
        Directory::new(vec![zone("tz-2", "trust-zone-b"), zone("tz-1", "trust-zone-a"), zone("tz-3", "tz-1")])
    }

    #[test]
    fn a_name_wins_over_an_id() {
        assert_eq!(zones().find("trust-zone-a").unwrap().id(), "tz-1");
        assert_eq!(zones().find("tz-2").unwrap().name(), "trust-zone-b");
        assert_eq!(zones().find("tz-1").unwrap().id(), "tz-3");
        assert_eq!(zones().name_of("tz-9"), "tz-9");
    }

    #[test]
    fn an_unknown_name_comes_with_a_way_on() {
        let error = |wanted| zones().find(wanted).unwrap_err().render(false);
        assert_eq!(error("trust-zone-aa"), "Error: trust zone \"trust-zone-aa\" not found\nhint: did you mean trust-zone-a?\n");
        assert_eq!(error("x"), "Error: trust zone \"x\" not found\nhint: cofidectl trust-zone list shows which there are\n");
        assert_eq!(
            error("trust-zone-c"),
            "Error: trust zone \"trust-zone-c\" not found\nhint: cofidectl trust-zone list shows which there are\n"
        );
    }

    #[test]
    fn the_next_name_of_a_count_is_no_slip_of_the_one_before() {
        for (wanted, known) in [
            ("trust-zone-b", "trust-zone-a"),
            ("node10", "node1"),
            ("eu-2", "eu-1"),
            ("server.demo.b.test", "server.demo.a.test"),
            ("k8s_1_a", "k8s_2_b"),
        ] {
            assert_eq!(meant(wanted, [known]), None, "{wanted} {known}");
        }
        for (wanted, known) in [
            ("trust-zon-a", "trust-zone-a"),
            ("trust-zone-a", "trust-zone-eu"),
            ("trust-zonea", "trust-zone-a"),
            ("nodes1", "node1"),
            ("serve", "server"),
        ] {
            assert_eq!(meant(wanted, [known]), Some(known), "{wanted} {known}");
        }
        assert_eq!(meant("trust-zone-b", ["trust-zone-a", "trust-zone-bb"]), Some("trust-zone-bb"));
    }
}
