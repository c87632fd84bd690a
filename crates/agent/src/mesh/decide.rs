//! What is wrong with the settings of a mesh. Pure.

use std::collections::BTreeSet;

use cofide_api::convert::plan as wire;
use cofide_core::{TlsMode, TrustDomain};

use super::Sight;
use super::finding::{Concerns, Finding, Found, MeshFindings};
use super::istiod::{CONTAINER, Istiod, SHARED_MESH_CONFIG, SKIP_VALIDATION, is_true};
use super::mesh_config::{ALIASES, CA_CERTIFICATES, MeshConfig, TRUST_DOMAIN};
use super::sds::{ALL, Meaning, ROOT_CA, Secrets};
use crate::plan::Plan;
use crate::world::Exports;

/// Istio's trust domain where nobody has set one.
const USUAL_TRUST_DOMAIN: &str = "cluster.local";

/// What exports and plan ask of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    pub own: TrustDomain,
    /// Those that the trust zone trusts.
    pub federated: BTreeSet<TrustDomain>,
    /// Those to which `IstioMtls` services are exported and that can import them.
    pub admitted: BTreeSet<TrustDomain>,
    /// Whether that is all, and not only what is known so far.
    pub is_whole: bool,
}

impl Needed {
    pub fn of(own: &TrustDomain, exports: Option<&Exports>, plan: &Plan) -> Self {
        let exports_known = plan.is_known(wire::EXPORTED_SERVICE);
        let offers = exports.iter().flat_map(|exports| &exports.exports).filter_map(|export| export.offer());
        let of_sidecars = offers.filter(|offer| offer.service.tls_mode == TlsMode::IstioMtls);
        let admitted = of_sidecars.flat_map(|offer| {
            let targets = if exports_known { plan.targets(&offer.service.id) } else { None };
            offer.route(targets).admitted
        });
        Self {
            own: own.clone(),
            federated: plan.trust().map(|trust| trust.trust_domain.clone()).collect(),
            admitted: admitted.filter(|domain| domain != own).collect(),
            is_whole: exports_known && exports.is_some_and(|exports| !exports.incomplete),
        }
    }
}

/// How people call what was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Namespace and name.
    pub config_map: String,
    /// Namespace and name.
    pub istiod: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub mesh_config: Sight<MeshConfig>,
    pub istiod: Istiod,
    pub secrets: Sight<Secrets>,
}

/// What is not as it has to be.
pub fn findings(places: &Places, needed: &Needed, seen: &Seen) -> MeshFindings {
    let mut found = Vec::new();
    match &seen.mesh_config {
        Sight::Unknown(reason) => found.push(unknown_config(places, needed, reason)),
        Sight::Seen(config) => {
            found.extend(trust_domain(places, needed, config, &seen.istiod));
            found.extend(aliases(places, needed, config));
        }
    }
    found.extend(validation(places, needed, seen));
    match &seen.secrets {
        Sight::Unknown(reason) => found.push(Finding {
            key: format!("the secret {ROOT_CA} that the zone's SPIFFE agent serves over SDS"),
            expected: "the bundles of all trust domains".to_owned(),
            found: Found::Unknown(reason.clone()),
            remedy: "Check that the SPIFFE agent serves SDS at spiffe_endpoint_socket".to_owned(),
            concerns: Concerns::default(),
        }),
        Sight::Seen(secrets) => found.extend(sds(needed, secrets)),
    }
    MeshFindings(found.into_iter().collect())
}

fn key_of_config(places: &Places, key: &str) -> String {
    format!("{key} in the mesh configuration (ConfigMap {}, key mesh)", places.config_map)
}

fn unknown_config(places: &Places, needed: &Needed, reason: &str) -> Finding {
    Finding {
        key: key_of_config(places, TRUST_DOMAIN),
        expected: needed.own.to_string(),
        found: Found::Unknown(reason.to_owned()),
        remedy: "Name the ConfigMap that istiod reads as mesh_namespace and mesh_config_map, or see to it yourself".to_owned(),
        concerns: Concerns::default(),
    }
}

/// By it sidecars know which identities are the mesh's own.
fn trust_domain(places: &Places, needed: &Needed, config: &MeshConfig, istiod: &Istiod) -> Option<Finding> {
    let own = needed.own.to_string();
    let found = match (&config.trust_domain, &istiod.shared_mesh_config) {
        (Some(set), _) if *set == own => return None,
        (Some(set), _) => Found::Value(set.clone()),
        (None, Sight::Seen(None)) if own == USUAL_TRUST_DOMAIN => return None,
        (None, Sight::Seen(None)) => Found::Value(format!("not set, which is {USUAL_TRUST_DOMAIN}")),
        (None, Sight::Seen(Some(shared))) => Found::Unknown(format!(
            "it is not set there, and ConfigMap {shared}, which istiod reads too ({SHARED_MESH_CONFIG}), is not looked at"
        )),
        (None, Sight::Unknown(reason)) => Found::Unknown(format!(
            "it is not set there, and whether istiod reads another ConfigMap too ({SHARED_MESH_CONFIG}) is not known: {reason}"
        )),
    };
    let is_wrong = matches!(found, Found::Value(_));
    Some(Finding {
        key: key_of_config(places, TRUST_DOMAIN),
        expected: own.clone(),
        found,
        remedy: format!("Set {TRUST_DOMAIN}: {own}, or let the agent do it (manage_mesh_config)"),
        concerns: Concerns { exports_to: if is_wrong { needed.admitted.clone() } else { BTreeSet::new() }, imports: false },
    })
}

/// Whoever is an alias is taken for the mesh's own, also where the agent's policies keep others out.
fn aliases(places: &Places, needed: &Needed, config: &MeshConfig) -> Option<Finding> {
    let own = needed.own.to_string();
    let foreign: BTreeSet<_> = config.aliases.iter().filter(|alias| **alias != own).collect();
    let first = foreign.first()?;
    let listed: Vec<_> = foreign.iter().map(|alias| alias.as_str()).collect();
    let listed = listed.join(", ");
    let is_merged = needed.federated.iter().any(|domain| foreign.iter().any(|alias| **alias == *domain.as_str()));
    Some(Finding {
        key: key_of_config(places, ALIASES),
        expected: format!("without {listed}"),
        found: Found::Value(listed),
        remedy: format!(
            "Take that out: whatever a policy allows to identities of {own} it allows to those of {first} too, as if they were the mesh's own"
        ),
        concerns: Concerns { exports_to: if is_merged { needed.admitted.clone() } else { BTreeSet::new() }, imports: false },
    })
}

/// Whether sidecars take certificates of those to whom services are exported.
fn validation(places: &Places, needed: &Needed, seen: &Seen) -> Option<Finding> {
    let is_accepted = |domain: &&TrustDomain| match &seen.mesh_config {
        Sight::Unknown(_) => false,
        Sight::Seen(config) => {
            let name = domain.as_str();
            config.accepted.contains(name)
                || config.aliases.iter().any(|alias| alias == name)
                || config.trust_domain.as_deref() == Some(name)
        }
    };
    let missing: BTreeSet<_> = needed.admitted.iter().filter(|domain| !is_accepted(domain)).cloned().collect();
    if missing.is_empty() {
        return None;
    }
    let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    let found = match (&seen.istiod.skip_validation, &seen.mesh_config, &seen.istiod.shared_mesh_config) {
        (Sight::Seen(Some(value)), ..) if is_true(value) => return None,
        (Sight::Unknown(reason), ..) => Found::Unknown(reason.clone()),
        (_, Sight::Unknown(reason), _) => {
            Found::Unknown(format!("it is not, but {CA_CERTIFICATES}[].trustDomains of the mesh configuration may do instead: {reason}"))
        }
        (Sight::Seen(value), Sight::Seen(_), Sight::Seen(None)) => Found::Value(value.clone().unwrap_or_else(|| "not set".to_owned())),
        (_, _, Sight::Seen(Some(shared))) => Found::Unknown(format!(
            "it is not, but {CA_CERTIFICATES}[].trustDomains of ConfigMap {shared}, which is not looked at, may do instead"
        )),
        (_, _, Sight::Unknown(reason)) => {
            Found::Unknown(format!("it is not, but a ConfigMap that {SHARED_MESH_CONFIG} names may do instead: {reason}"))
        }
    };
    let is_wrong = matches!(found, Found::Value(_));
    Some(Finding {
        key: format!("{SKIP_VALIDATION} in the environment of istiod (Deployment {}, container {CONTAINER})", places.istiod),
        expected: format!("true (for sidecars to take certificates of {names})"),
        found,
        remedy: format!(
            "Set it, or list {names} in {CA_CERTIFICATES}[].trustDomains of the mesh configuration (ConfigMap {}), which \
             manage_mesh_config does",
            places.config_map
        ),
        concerns: Concerns { exports_to: if is_wrong { missing } else { BTreeSet::new() }, imports: false },
    })
}

/// Whether Istio's proxies get the bundles of all trust domains, each for itself.
fn sds(needed: &Needed, secrets: &Secrets) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut wrong = |key: &str, expected: &str, value: &str, remedy: &str| {
        found.push(Finding {
            key: format!("{key} of the zone's SPIFFE agent (its sds section)"),
            expected: expected.to_owned(),
            found: Found::Value(value.to_owned()),
            remedy: remedy.to_owned(),
            concerns: Concerns { exports_to: needed.admitted.clone(), imports: true },
        });
    };
    let meaning = secrets.root_ca();
    let other = if secrets.all.meaning() == Meaning::AllBundles { ALL } else { "neither that nor ALL" };
    if meaning == Meaning::OwnBundle {
        wrong(
            "default_bundle_name",
            "another name than ROOTCA, such as \"null\"",
            ROOT_CA,
            "Change it: Istio's proxies ask for ROOTCA and get the own trust domain's bundle alone, so they can verify nobody of another one",
        );
    }
    if meaning == Meaning::Nothing || meaning == Meaning::OwnBundle && other == ALL {
        wrong(
            "default_all_bundles_name",
            ROOT_CA,
            other,
            "Set it: Istio's proxies ask for ROOTCA, which has to hold the bundles of all trust domains",
        );
    }
    if secrets.lacks_validator() {
        wrong(
            "disable_spiffe_cert_validation",
            "false",
            "true",
            "Take it out: without that validator Envoys get no bundle of another trust domain",
        );
    }
    if meaning == Meaning::Bundles {
        found.push(Finding {
            key: format!("the secret {ROOT_CA} that the zone's SPIFFE agent serves over SDS"),
            expected: "the bundles of all trust domains".to_owned(),
            found: Found::Unknown(format!("it holds the bundle of {} alone, and the agent's own identity has no other", needed.own)),
            remedy: "See that default_all_bundles_name of the SPIFFE agent is ROOTCA".to_owned(),
            concerns: Concerns::default(),
        });
    }
    found
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
