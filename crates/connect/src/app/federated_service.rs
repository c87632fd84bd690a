//! Federated services: what an agent says about the services of its own cluster.
//!
//! Zone, trust domain and cluster are those of the agent's certificate. A message may repeat them; one that names others
//! is a lie, and refused as one.

use cofide_api::convert::federated_service::Draft;
use cofide_core::{Change, EntityKind, EventKind, FederatedService, FederatedServiceId, Hostname, OrganizationId};
use cofide_store::{FederatedServiceFilter, FederatedServices, FederatedServicesMut, WriteTransaction};
use serde_json::{Value, json};

use super::App;
use super::audit::{event, now};
use super::trust_zone::required;
use crate::caller::{CallContext, JoinedAgent};
use crate::error::{Error, Result};
use crate::id;

const NOUN: &str = "federated service";

impl App {
    /// A user sees every service, an agent those of its own cluster.
    pub async fn federated_service(&self, context: &CallContext, id: &FederatedServiceId) -> Result<FederatedService> {
        let service = self.read().await?.federated_service(id).await?;
        service.filter(|service| is_visible(context, service)).ok_or_else(|| Error::not_found(NOUN, id))
    }

    /// A user sees every service, of one organization if it is named, an agent those of its own cluster.
    pub async fn federated_services(
        &self,
        context: &CallContext,
        organization_id: Option<OrganizationId>,
    ) -> Result<Vec<FederatedService>> {
        let cluster_id = context.agent().map(|agent| agent.cluster_id.clone());
        let filter = FederatedServiceFilter { organization_id, cluster_id, ..FederatedServiceFilter::default() };
        Ok(self.read().await?.federated_services(&filter).await?)
    }

    /// Registers a service, or says again what is registered already: an agent that has lost its state, or an answer,
    /// simply registers once more.
    pub async fn register_federated_service(&self, context: &CallContext, draft: Draft) -> Result<FederatedServiceId> {
        let agent = own(context)?;
        check_claims(agent, &draft)?;
        let hostname = hostname(agent, &draft)?;
        let mut transaction = self.write().await?;
        if let Some(id) = &draft.id
            && let Some(other) = transaction.federated_service(id).await?
        {
            if other.cluster_id != agent.cluster_id {
                return Err(Error::AlreadyExists(format!("federated service {id} belongs to another cluster; use another id")));
            }
            return self.replace(context, transaction, other, draft, EventKind::FederatedServiceRegistration).await;
        }
        let same = FederatedServiceFilter {
            cluster_id: Some(agent.cluster_id.clone()),
            hostname: Some(hostname.clone()),
            ..FederatedServiceFilter::default()
        };
        if let Some(other) = transaction.federated_services(&same).await?.pop() {
            return match draft.id {
                None => self.replace(context, transaction, other, draft, EventKind::FederatedServiceRegistration).await,
                Some(_) => Err(Error::AlreadyExists(format!(
                    "hostname {hostname} is exported by federated service {} of this cluster already; the older one keeps it",
                    other.id
                ))),
            };
        }
        let most = self.settings.max_federated_services_per_cluster;
        let count = transaction.federated_service_count(&agent.cluster_id).await?;
        if count >= most as u64 {
            return Err(Error::FailedPrecondition(format!(
                "cluster {} has {count} federated services, and at most {most} are kept; withdraw some that are not used, or raise \
                 max_federated_services_per_cluster of cofide-connect",
                agent.cluster_name
            )));
        }
        let service = described(agent, None, draft)?;
        transaction.insert_federated_service(&service).await?;
        let message = format!("federated service {} registered by cluster {}", service.hostname, service.cluster_name);
        let event = event(context, EventKind::FederatedServiceRegistration, message, links(&service), &snapshot(&service));
        self.commit(transaction, Change::of_federated_service(None, Some(&service)), event).await?;
        Ok(service.id)
    }

    pub async fn update_federated_service(&self, context: &CallContext, draft: Draft) -> Result<FederatedServiceId> {
        let agent = own(context)?;
        let id = required("federated_service.id", draft.id.clone())?;
        check_claims(agent, &draft)?;
        let mut transaction = self.write().await?;
        let held = self.held(context, &mut transaction, &id).await?;
        self.replace(context, transaction, held, draft, EventKind::FederatedServiceUpdate).await
    }

    /// By the cluster's agent, or by a user where the agent is gone for good.
    pub async fn deregister_federated_service(&self, context: &CallContext, id: &FederatedServiceId) -> Result<()> {
        let mut transaction = self.write().await?;
        let held = self.held(context, &mut transaction, id).await?;
        transaction.delete_federated_service(id).await?;
        let message = format!("federated service {} of cluster {} deregistered", held.hostname, held.cluster_name);
        let event = event(context, EventKind::FederatedServiceDeregistration, message, links(&held), &snapshot(&held));
        self.commit(transaction, Change::of_federated_service(Some(&held), None), event).await
    }

    /// The service that the caller is about to change.
    async fn held(&self, context: &CallContext, transaction: &mut WriteTransaction, id: &FederatedServiceId) -> Result<FederatedService> {
        let held = transaction.federated_service(id).await?.ok_or_else(|| Error::not_found(NOUN, id))?;
        match context.agent() {
            Some(agent) if agent.cluster_id != held.cluster_id => {
                Err(Error::PermissionDenied(format!("{} changes federated services of its own cluster and no others", agent.spiffe_id)))
            }
            _ => Ok(held),
        }
    }

    async fn replace(
        &self,
        context: &CallContext,
        mut transaction: WriteTransaction,
        held: FederatedService,
        draft: Draft,
        kind: EventKind,
    ) -> Result<FederatedServiceId> {
        if draft.name != held.name {
            return Err(Error::invalid(
                "federated_service.name",
                format_args!(
                    "is {} and cannot change to {}; deregister the service and register it under its new name",
                    held.name, draft.name
                ),
            ));
        }
        let mut service = described(own(context)?, Some(&held), draft)?;
        if service == held {
            return Ok(held.id);
        }
        service.updated_at = now();
        transaction.update_federated_service(&service).await?;
        let message = format!("federated service {} updated by cluster {}", service.hostname, service.cluster_name);
        let event = event(context, kind, message, links(&service), &snapshot(&service));
        self.commit(transaction, Change::of_federated_service(Some(&held), Some(&service)), event).await?;
        Ok(service.id)
    }
}

fn is_visible(context: &CallContext, service: &FederatedService) -> bool {
    context.agent().is_none_or(|agent| agent.cluster_id == service.cluster_id)
}

fn own(context: &CallContext) -> Result<&JoinedAgent> {
    context.agent().ok_or_else(|| Error::PermissionDenied("federated services are registered by the agents of their clusters".into()))
}

fn check_claims(agent: &JoinedAgent, draft: &Draft) -> Result<()> {
    let lie = |field: &str, claimed: &dyn std::fmt::Display, own: &dyn std::fmt::Display| {
        Err(Error::PermissionDenied(format!("federated_service.{field}: {} speaks for {own}, not for {claimed}", agent.spiffe_id)))
    };
    match (&draft.trust_domain, &draft.cluster_name) {
        (Some(claimed), _) if *claimed != agent.trust_domain => lie("trust_domain", claimed, &agent.trust_domain),
        (_, Some(claimed)) if *claimed != agent.cluster_name => lie("cluster_name", claimed, &agent.cluster_name),
        _ => Ok(()),
    }
}

/// The service as the draft describes it: a new one, or the one that is held as it is to be.
///
/// Every field is named here. One that was filled up from what is held could never be changed, and nothing would say so.
fn described(agent: &JoinedAgent, held: Option<&FederatedService>, draft: Draft) -> Result<FederatedService> {
    let now = now();
    let hostname = hostname(agent, &draft)?;
    let exported_trust_domains = exports(agent, &draft)?;
    Ok(FederatedService {
        id: held.map(|held| held.id.clone()).or(draft.id).unwrap_or_else(id::federated_service),
        trust_zone_id: agent.trust_zone_id.clone(),
        cluster_id: agent.cluster_id.clone(),
        cluster_name: agent.cluster_name.clone(),
        trust_domain: agent.trust_domain.clone(),
        hostname,
        exported_trust_domains,
        name: draft.name,
        workload_labels: draft.workload_labels,
        port: draft.port,
        tls_mode: draft.tls_mode,
        gateway_entries: draft.gateway_entries,
        gateway_specs: draft.gateway_specs,
        spiffe_id_paths: draft.spiffe_id_paths,
        created_at: held.map_or(now, |held| held.created_at),
        updated_at: held.map_or(now, |held| held.updated_at),
    })
}

fn hostname(agent: &JoinedAgent, draft: &Draft) -> Result<Hostname> {
    draft.name.hostname(&agent.trust_domain).map_err(|error| {
        Error::invalid("federated_service.name", format_args!("makes no DNS name with {}: it {error}", agent.trust_domain))
    })
}

fn exports(agent: &JoinedAgent, draft: &Draft) -> Result<std::collections::BTreeSet<cofide_core::TrustDomain>> {
    FederatedService::check_exports(&agent.trust_domain, &draft.exported_trust_domains)
        .map_err(|error| Error::invalid("federated_service.exported_trust_domains", error))
}

fn links(service: &FederatedService) -> [(EntityKind, String); 3] {
    [
        (EntityKind::FederatedService, service.id.to_string()),
        (EntityKind::Cluster, service.cluster_id.to_string()),
        (EntityKind::TrustZone, service.trust_zone_id.to_string()),
    ]
}

/// Lists are counted and not repeated: an agent writes an event with each change, and the log keeps it for months.
fn snapshot(service: &FederatedService) -> Value {
    json!({
        "id": service.id,
        "hostname": service.hostname,
        "cluster_id": service.cluster_id,
        "trust_zone_id": service.trust_zone_id,
        "exported_trust_domains": service.exported_trust_domains.len(),
        "port": service.port,
        "tls_mode": service.tls_mode.as_str(),
        "gateway_entries": service.gateway_entries.len(),
        "gateway_specs": service.gateway_specs.len(),
        "spiffe_id_paths": service.spiffe_id_paths.len(),
    })
}
