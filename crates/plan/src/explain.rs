//! Why a client can or cannot use a service: the chain of conditions, in the order in which they matter.

use std::collections::BTreeSet;

use cofide_core::{AttestationPolicyBinding, FederatedService, Finding, Hostname, Severity, TrustZone, TrustZoneId};

use crate::Snapshot;
use crate::exports::direction;
use crate::imports::{Merged, visible_services};
use crate::partners::partners;

/// What stands between the workloads of one trust zone and one hostname, as far as the control plane can know it.
///
/// The findings are ordered; the first whose severity is not [`Severity::Ok`] is the broken link, and mending links from the
/// top down ends with a working connection. Checks that have nothing to look at, because an earlier link is missing
/// altogether, are left out.
pub fn explain(snapshot: &Snapshot, client: &TrustZoneId, hostname: &Hostname) -> Vec<Finding> {
    let Some(client) = snapshot.trust_zone(client) else {
        let message = format!("there is no trust zone with the id {client}");
        return vec![broken("client trust zone", message, "choose one from cofidectl trust-zone list")];
    };
    let Some(services) = Merged::of(snapshot.federated_services_named(hostname)) else {
        return vec![not_registered(snapshot, hostname)];
    };
    let registered = registered(hostname, &services);
    let Some(server) = snapshot.trust_zone(&services.oldest.trust_zone_id) else {
        let message = format!("the trust zone of {hostname} is gone");
        return vec![registered, broken("server trust zone", message, "create the trust zone again and join its agents")];
    };
    if server.id == client.id {
        let message = format!("{hostname} belongs to trust zone {} itself, and is not imported there", server.name);
        return vec![registered, broken("server trust zone", message, "reach it directly, by the name that it has in its own cluster")];
    }
    vec![
        registered,
        export_list(client, hostname, &services),
        federation(snapshot, client, server, "so that clients admit the server"),
        federation(snapshot, server, client, "so that the server admits the clients"),
        bundle(server, client),
        bundle(client, server),
        bindings(snapshot, client, server),
        bindings(snapshot, server, client),
        gateways(&Merged::of(visible_services(snapshot, client, hostname)).unwrap_or(services)),
    ]
}

fn registered(hostname: &Hostname, services: &Merged<'_>) -> Finding {
    let all = services.agreeing.iter().chain(&services.left_out).copied();
    ok("registered service", format!("{hostname} is registered by {}", clusters(all)))
}

fn not_registered(snapshot: &Snapshot, hostname: &Hostname) -> Finding {
    let check = "registered service";
    match home(snapshot, hostname) {
        Some(zone) => broken(
            check,
            format!("no cluster of trust zone {} has registered {hostname}", zone.name),
            "apply a FederatedService with this name and namespace there, and read the conditions in its status",
        ),
        None => broken(
            check,
            format!("no cluster has registered {hostname}, and it is not {{name}}.{{namespace}} before the trust domain of any trust zone"),
            "compare the hostname with the trust domains in cofidectl trust-zone list",
        ),
    }
}

/// The trust zone whose services have such names, whether or not there is one of this name.
pub fn home<'s>(snapshot: &'s Snapshot, hostname: &Hostname) -> Option<&'s TrustZone> {
    snapshot.trust_zones().find(|zone| belongs_to(hostname, zone))
}

fn belongs_to(hostname: &Hostname, zone: &TrustZone) -> bool {
    let prefix = hostname.as_str().strip_suffix(zone.trust_domain.as_str()).and_then(|prefix| prefix.strip_suffix('.'));
    prefix.is_some_and(|prefix| prefix.split('.').count() == 2)
}

fn export_list(client: &TrustZone, hostname: &Hostname, services: &Merged<'_>) -> Finding {
    let check = "export list";
    let domain = &client.trust_domain;
    let is_exported = |service: &&FederatedService| service.exported_trust_domains.contains(domain);
    if services.agreeing.iter().chain(&services.left_out).any(is_exported) {
        return ok(check, format!("{hostname} is exported to {domain}"));
    }
    let service = services.oldest;
    let exported: Vec<_> = service.exported_trust_domains.iter().map(|domain| domain.as_str()).collect();
    broken(
        check,
        format!("{hostname} is exported to {}, not to {domain}", listed(&exported)),
        format!("add {domain} to spec.exportedTrustDomains of FederatedService {} in cluster {}", service.name, service.cluster_name),
    )
}

fn federation(snapshot: &Snapshot, from: &TrustZone, to: &TrustZone, purpose: &str) -> Finding {
    let direction = direction(from, to);
    let check = format!("federation {direction}");
    if snapshot.federates(&from.id, &to.id) {
        ok(&check, format!("trust zone {} trusts {}, {purpose}", from.name, to.name))
    } else {
        broken(&check, format!("trust zone {} does not trust {}; it must, {purpose}", from.name, to.name), direction.remedy())
    }
}

/// Whether `zone` has delivered the bundle with which workloads of `reader` verify it.
fn bundle(zone: &TrustZone, reader: &TrustZone) -> Finding {
    let check = format!("bundle of {}", zone.name);
    let usable = zone.bundle.as_ref().map(|bundle| bundle.x509_authorities.iter().filter(|authority| !authority.tainted).count());
    match usable {
        Some(1..) => ok(&check, format!("trust zone {} has delivered its bundle", zone.name)),
        Some(0) => broken(
            &check,
            format!("the bundle of trust zone {} holds no X.509 authority that is still trusted", zone.name),
            format!("activate a new X.509 authority in trust zone {}", zone.name),
        ),
        None => Finding {
            check,
            severity: Severity::Waiting,
            message: format!("trust zone {} has not delivered its bundle: workloads of {} cannot verify it yet", zone.name, reader.name),
            remedy: Some(format!("join an agent to a cluster of trust zone {}, and see that it runs", zone.name)),
        },
    }
}

/// Whether any workload of `zone` receives the bundle of `other`: a federation alone gives it to none.
fn bindings(snapshot: &Snapshot, zone: &TrustZone, other: &TrustZone) -> Finding {
    let check = format!("bindings in {}", zone.name);
    let gives = |binding: &&AttestationPolicyBinding| partners(snapshot, binding).all().any(|partner| partner.id == other.id);
    let (with, without): (Vec<_>, Vec<_>) = snapshot.bindings_of(&zone.id).partition(gives);
    let policies = |bindings: &[&AttestationPolicyBinding]| {
        let names: BTreeSet<_> = bindings.iter().map(|binding| policy_name(snapshot, binding)).collect();
        listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    match (with.as_slice(), without.as_slice()) {
        ([], []) => broken(
            &check,
            format!(
                "trust zone {} has no attestation policy binding: none of its workloads receives the bundle of {}",
                zone.name, other.name
            ),
            binding_command("add", zone, "<policy>", &[other.name.as_str()]),
        ),
        ([], [binding, ..]) => {
            // An update replaces the list, so what is there has to be said again.
            let named =
                binding.federates_with.iter().filter_map(|id| snapshot.trust_zone(id)).chain([other]).map(|zone| zone.name.as_str());
            let quoted: Vec<_> = binding.federates_with_patterns.iter().map(|pattern| format!("'{pattern}'")).collect();
            let zones: Vec<_> = named.chain(quoted.iter().map(String::as_str)).collect();
            broken(
                &check,
                format!("no binding in trust zone {} federates with {}: its workloads do not receive that bundle", zone.name, other.name),
                binding_command("update", zone, &policy_name(snapshot, binding), &zones),
            )
        }
        (with, []) => {
            ok(&check, format!("in trust zone {}, workloads of policy {} receive the bundle of {}", zone.name, policies(with), other.name))
        }
        (with, without) => ok(
            &check,
            format!(
                "in trust zone {}, workloads of policy {} receive the bundle of {}, those of {} do not",
                zone.name,
                policies(with),
                other.name,
                policies(without)
            ),
        ),
    }
}

fn policy_name(snapshot: &Snapshot, binding: &AttestationPolicyBinding) -> String {
    let policy = snapshot.attestation_policy(&binding.policy_id);
    policy.map_or_else(|| binding.policy_id.to_string(), |policy| policy.name.to_string())
}

fn binding_command(verb: &str, zone: &TrustZone, policy: &str, federates_with: &[&str]) -> String {
    let flags: String = federates_with.iter().map(|zone| format!(" --federates-with {zone}")).collect();
    format!("cofidectl attestation-policy-binding {verb} --trust-zone {} --attestation-policy {policy}{flags}", zone.name)
}

/// Before the links above are there nothing is visible; then this looks at what would be.
fn gateways(services: &Merged<'_>) -> Finding {
    let check = "gateways";
    let conflict = if services.left_out.is_empty() {
        String::new()
    } else {
        let left_out = clusters(services.left_out.iter().copied());
        let decides = &services.oldest.cluster_name;
        format!(
            "; left out is {left_out}, whose port, TLS mode or SPIFFE ID paths differ from those of the older service in cluster {decides}"
        )
    };
    let known: Vec<_> = services.gateways().into_iter().map(|imported| imported.gateway.to_string()).collect();
    if known.is_empty() {
        return Finding {
            check: check.to_owned(),
            severity: Severity::Waiting,
            message: format!("no gateway is known by which clients could enter{conflict}"),
            remedy: Some("see that an ingress or east-west gateway has an external address, or write spec.gateways by hand".to_owned()),
        };
    }
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    ok(check, format!("clients enter by {}{conflict}", listed(&known)))
}

fn clusters<'a>(services: impl Iterator<Item = &'a FederatedService>) -> String {
    let names: Vec<_> = services.map(|service| service.cluster_name.as_str()).collect();
    format!("cluster{} {}", if names.len() == 1 { "" } else { "s" }, listed(&names))
}

/// `one`, `one and two`, `one, two and three`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

fn ok(check: &str, message: String) -> Finding {
    Finding { check: check.to_owned(), severity: Severity::Ok, message, remedy: None }
}

fn broken(check: &str, message: String, remedy: impl Into<String>) -> Finding {
    Finding { check: check.to_owned(), severity: Severity::Broken, message, remedy: Some(remedy.into()) }
}
