//! Why a client can or cannot use a service: what the state says ([`cofide_plan::explain`]), and then whether the agents
//! on the way have brought it about.

use std::collections::{BTreeMap, BTreeSet};

use cofide_api::convert::plan_resource;
use cofide_core::{
    Agent, Cluster, ClusterId, Finding, Hostname, ImportedService, Profile, Receipt, ReceiptOutcome, Severity, Timestamp, TrustZone,
    TrustZoneId,
};
use cofide_plan::{Key, PlanResource, Snapshot};
use cofide_store::{Agents, ReadTransaction, ReceiptFilter, Receipts};

use super::App;
use super::audit::now;
use super::{cluster, trust_zone};
use crate::error::{Error, Result};
use crate::hub;
use crate::presence::{Elsewhere, Sign};

impl App {
    /// Ordered findings; the first that is not [`Severity::Ok`] is the broken link. `cluster` narrows the clients down to
    /// those of one cluster of the zone.
    pub async fn explain(&self, client: &TrustZoneId, cluster: Option<&ClusterId>, hostname: &Hostname) -> Result<Vec<Finding>> {
        let snapshot = self.hub.snapshot();
        let Some(zone) = snapshot.trust_zone(client) else {
            return Err(Error::unknown_reference("trust_zone_id", trust_zone::NOUN, client.as_str()));
        };
        let clients: Vec<&Cluster> = match cluster {
            None => snapshot.clusters_of(client).collect(),
            Some(id) => match snapshot.cluster(id) {
                Some(cluster) if cluster.trust_zone_id == *client => vec![cluster],
                Some(cluster) => {
                    let reason = format_args!("cluster {} does not belong to trust zone {}", cluster.name, zone.name);
                    return Err(Error::invalid("cluster_id", reason));
                }
                None => return Err(Error::unknown_reference("cluster_id", cluster::NOUN, id.as_str())),
            },
        };
        let mut findings = cofide_plan::explain(&snapshot, client, hostname);
        let services: Vec<_> = snapshot.federated_services_named(hostname).collect();
        let mut transaction = self.read().await?;
        let elsewhere = self.presence.elsewhere(&mut transaction).await?;
        let Some(first) = services.first() else {
            // An agent does not announce what nobody could reach yet, and says so: that is what there is to mend, before anything else.
            let server = cofide_plan::home(&snapshot, hostname);
            for cluster in server.into_iter().flat_map(|server| snapshot.clusters_of(&server.id)) {
                let agent = transaction.agent_of_cluster(&cluster.id).await?;
                findings.splice(0..0, agent.and_then(|agent| self.unmet_condition(cluster, &agent, &elsewhere, hostname)));
            }
            return Ok(findings);
        };
        let server = snapshot.trust_zone(&first.trust_zone_id);
        let Some(server) = server.filter(|server| server.id != *client) else { return Ok(findings) };
        let exporting: BTreeSet<_> = services.iter().map(|service| &service.cluster_id).collect();
        for cluster in exporting.into_iter().filter_map(|id| snapshot.cluster(id)) {
            let needs = [Key::Trust(zone.trust_domain.clone())];
            findings.push(self.agent_link(&mut transaction, &snapshot, server, cluster, &needs).await?);
            let agent = transaction.agent_of_cluster(&cluster.id).await?;
            findings.extend(agent.and_then(|agent| self.conditions_link(cluster, &agent, &elsewhere, hostname)));
        }
        if clients.is_empty() {
            findings.push(Finding {
                check: format!("clusters of {}", zone.name),
                severity: Severity::Broken,
                message: format!("trust zone {} has no cluster in which a client could be", zone.name),
                remedy: Some(format!("cofidectl cluster add <cluster> --trust-zone {} --profile host", zone.name)),
            });
        }
        for cluster in clients {
            let needs = [Key::Trust(server.trust_domain.clone()), Key::Import(hostname.clone())];
            findings.push(self.agent_link(&mut transaction, &snapshot, zone, cluster, &needs).await?);
            if cluster.profile == Profile::Istio
                && let Some(PlanResource::Import(import)) = cofide_plan::resource(&snapshot, &cluster.id, &Key::Import(hostname.clone()))
            {
                findings.extend(remarks(&format!("{}/{}", zone.name, cluster.name), &import));
            }
        }
        Ok(findings)
    }

    /// What the agent of a cluster that exports a service says of it; nothing where it has not said, or is not there to say what
    /// holds now.
    fn conditions_link(&self, cluster: &Cluster, agent: &Agent, elsewhere: &Elsewhere, hostname: &Hostname) -> Option<Finding> {
        let holds = || Finding {
            check: conditions_of(cluster),
            severity: Severity::Ok,
            message: format!("the agent of cluster {} sees nothing there that keeps {hostname} from working", cluster.name),
            remedy: None,
        };
        let is_known = agent.status.is_some() && self.presence.of(agent, elsewhere, now()).is_connected;
        is_known.then(|| self.unmet_condition(cluster, agent, elsewhere, hostname).unwrap_or_else(holds))
    }

    fn unmet_condition(&self, cluster: &Cluster, agent: &Agent, elsewhere: &Elsewhere, hostname: &Hostname) -> Option<Finding> {
        let status = agent.status.as_ref().filter(|_| self.presence.of(agent, elsewhere, now()).is_connected)?;
        let unmet = status.unmet_conditions.iter().find(|unmet| unmet.hostname == *hostname)?;
        Some(Finding {
            check: conditions_of(cluster),
            severity: Severity::Broken,
            message: format!(
                "{} of {hostname} is not met in cluster {}: {}: {}",
                unmet.kind.as_str(),
                cluster.name,
                unmet.reason,
                unmet.message
            ),
            remedy: Some(format!("mend in cluster {} what it says; the status of the FederatedService there has all of it", cluster.name)),
        })
    }

    async fn agent_link(
        &self,
        transaction: &mut ReadTransaction,
        snapshot: &Snapshot,
        zone: &TrustZone,
        cluster: &Cluster,
        needs: &[Key],
    ) -> Result<Finding> {
        let now = now();
        let agent = transaction.agent_of_cluster(&cluster.id).await?;
        let mut receipts = Vec::new();
        for key in needs {
            let about = ReceiptFilter {
                cluster_id: Some(cluster.id.clone()),
                type_url: Some(plan_resource::type_url(key).to_owned()),
                resource_name: Some(plan_resource::name(key, self.hub.spiffe_id())),
                ..ReceiptFilter::default()
            };
            receipts.extend(transaction.receipts(&about).await?);
        }
        let wanted = needs.iter().filter_map(|key| Some((key, hub::version(&cofide_plan::resource(snapshot, &cluster.id, key)?))));
        let elsewhere = self.presence.elsewhere(transaction).await?;
        let found = agent.map(|agent: Agent| self.presence.of(&agent, &elsewhere, now));
        Ok(link(zone, cluster, found, &wanted.collect(), &receipts, now))
    }
}

/// `wanted` is the version of each resource that the cluster is meant to have; what the state does not give it yet has been
/// told by an earlier link.
fn link(
    zone: &TrustZone,
    cluster: &Cluster,
    agent: Option<Sign>,
    wanted: &BTreeMap<&Key, String>,
    receipts: &[Receipt],
    now: Timestamp,
) -> Finding {
    let name = &cluster.name;
    let finding = |severity, message: String, remedy: Option<String>| Finding {
        check: format!("agent of {}/{name}", zone.name),
        severity,
        message,
        remedy,
    };
    let Some(sign) = agent else {
        return finding(
            Severity::Broken,
            format!("no agent has joined cluster {name} of trust zone {}", zone.name),
            Some(format!("cofidectl agent join-token create --trust-zone {} --cluster {name} --output-file bootstrap.yaml", zone.name)),
        );
    };
    let said = |key: &Key, version: &String| {
        let is_about = |receipt: &&Receipt| {
            let is_named = match key {
                Key::Import(hostname) => receipt.resource_name == hostname.as_str(),
                Key::Trust(trust_domain) => receipt.resource_name == trust_domain.as_str(),
                Key::Registration(_) | Key::Export(_) | Key::ControlPlaneTrust => false,
            };
            is_named && receipt.type_url == plan_resource::type_url(key) && receipt.version == *version
        };
        receipts.iter().find(is_about).map(|receipt| &receipt.outcome)
    };
    for (key, version) in wanted {
        if let Some(ReceiptOutcome::Rejected(reason)) = said(key, version) {
            let remedy = "mend what it says, where the agent runs; its log has more";
            return finding(Severity::Broken, format!("cluster {name} refused {}: {reason}", what(key)), Some(remedy.into()));
        }
    }
    if !sign.is_connected {
        let last_seen = sign.last_seen_at.map_or_else(|| "never seen".to_owned(), |at| format!("last seen {}", at.age(now).ago()));
        return finding(
            Severity::Waiting,
            format!(
                "the agent of cluster {name} is not connected, {last_seen}: what it has applied stays in effect, and nothing new comes"
            ),
            Some(format!("see that cofide-agent runs in cluster {name} and reaches cofide-connect")),
        );
    }
    let outstanding: Vec<_> = wanted.iter().filter(|(key, version)| said(key, version).is_none()).map(|(key, _)| what(key)).collect();
    if outstanding.is_empty() {
        return finding(Severity::Ok, format!("the agent of cluster {name} is connected and has applied what it was sent"), None);
    }
    finding(
        Severity::Waiting,
        format!("the agent of cluster {name} has not applied {} yet", outstanding.join(" and ")),
        Some(format!("try again in a moment; if it stays so, read the log of cofide-agent in cluster {name}")),
    )
}

fn conditions_of(cluster: &Cluster) -> String {
    format!("conditions in {}", cluster.name)
}

/// What a mesh cannot use of an import that works all the same. An agent sees it too, and Connect knows it without being told.
fn remarks(cluster: &str, import: &ImportedService) -> Vec<Finding> {
    let remark = |message: String, remedy: &str| Finding {
        check: format!("gateways for {cluster}"),
        severity: Severity::Ok,
        message,
        remedy: Some(remedy.to_owned()),
    };
    let mut remarks = Vec::new();
    if import.lacks_east_west_gateways() {
        let message = format!("no cluster that exports it has an east-west gateway; the mesh of {cluster} uses ingress gateways");
        remarks.push(remark(message, "give the exporting cluster an east-west gateway"));
    }
    let (_, left_out) = import.usable_for_istio();
    if !left_out.is_empty() {
        let left_out: Vec<_> = left_out.iter().map(ToString::to_string).collect();
        let message = format!(
            "Istio takes gateways with IP addresses or with names and not both, so the mesh of {cluster} does without {}",
            left_out.join(", ")
        );
        remarks.push(remark(message, "give all gateways of the exporting clusters addresses of one kind"));
    }
    remarks
}

fn what(key: &Key) -> String {
    match key {
        Key::Trust(trust_domain) => format!("the bundle of {trust_domain}"),
        key => format!("the {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{Gateway, GatewayAddress, GatewayKind, ImportedGateway, Port, TlsMode, TrustDomain};

    fn import(gateways: &[(GatewayKind, &str)]) -> ImportedService {
        let gateway = |(kind, address): &(GatewayKind, &str)| {
            let address = address.parse().map_or_else(|_| GatewayAddress::Hostname(address.parse().unwrap()), GatewayAddress::Ip);
            let gateway = Gateway { kind: *kind, address, port: Port::try_from(443).unwrap() };
            ImportedGateway { gateway, cluster_name: "one".parse().unwrap() }
        };
        ImportedService {
            hostname: "server.demo.a.test".parse().unwrap(),
            port: Port::try_from(8443).unwrap(),
            tls_mode: TlsMode::Mtls,
            trust_domain: TrustDomain::new("a.test").unwrap(),
            spiffe_id_paths: vec![],
            gateways: gateways.iter().map(gateway).collect(),
        }
    }

    #[test]
    fn what_a_mesh_does_without_is_said_and_breaks_nothing() {
        use GatewayKind::{EastWest, Ingress};
        let said = |gateways: &[(GatewayKind, &str)]| {
            remarks("zone/cluster", &import(gateways)).into_iter().map(|found| found.message).collect::<Vec<_>>()
        };
        assert_eq!(said(&[(EastWest, "192.0.2.1"), (Ingress, "gw.test")]), Vec::<String>::new(), "each kind by itself");
        let mixed = said(&[(EastWest, "192.0.2.1"), (EastWest, "gw.test")]);
        assert!(mixed.len() == 1 && mixed[0].contains("gw.test") && !mixed[0].contains("192.0.2.1"), "{mixed:?}");
        let ingress = said(&[(Ingress, "192.0.2.1")]);
        assert!(ingress.len() == 1 && ingress[0].contains("east-west"), "{ingress:?}");
        assert!(remarks("zone/cluster", &import(&[(Ingress, "gw.test")])).iter().all(|found| found.severity == Severity::Ok));
    }
}
