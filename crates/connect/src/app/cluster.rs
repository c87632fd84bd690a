//! Clusters.

use cofide_api::convert::cluster::Draft;
use cofide_core::{Change, Cluster, ClusterId, EntityKind, EventKind};
use cofide_store::{ClusterFilter, Clusters, ClustersMut, TrustZones};
use serde_json::{Value, json};

use super::App;
use super::agent;
use super::audit::{event, now};
use super::trust_zone::{self, assigned_by_connect, immutable, required};
use crate::caller::CallContext;
use crate::error::{Error, Result};
use crate::id;

pub(super) const NOUN: &str = "cluster";

impl App {
    pub async fn cluster(&self, id: &ClusterId) -> Result<Cluster> {
        self.read().await?.cluster(id).await?.ok_or_else(|| Error::not_found(NOUN, id))
    }

    pub async fn clusters(&self, filter: &ClusterFilter) -> Result<Vec<Cluster>> {
        Ok(self.read().await?.clusters(filter).await?)
    }

    pub async fn create_cluster(&self, context: &CallContext, draft: Draft) -> Result<Cluster> {
        assigned_by_connect("cluster.id", draft.id.as_ref())?;
        let mut transaction = self.write().await?;
        let Some(zone) = transaction.trust_zone(&draft.trust_zone_id).await? else {
            return Err(Error::unknown_reference("cluster.trust_zone_id", trust_zone::NOUN, draft.trust_zone_id.as_str()));
        };
        immutable("cluster.org_id", draft.organization_id.as_ref(), &zone.organization_id)?;
        if zone.is_management_zone {
            return Err(trust_zone::management_zone(&zone, "clusters belong to other trust zones"));
        }
        let same = ClusterFilter { trust_zone_id: Some(zone.id.clone()), name: Some(draft.name.clone()), ..ClusterFilter::default() };
        if !transaction.clusters(&same).await?.is_empty() {
            return Err(Error::AlreadyExists(format!("trust zone {} has a cluster with the name {} already", zone.name, draft.name)));
        }
        let cluster = Cluster {
            id: id::cluster(),
            organization_id: zone.organization_id.clone(),
            trust_zone_id: draft.trust_zone_id,
            name: draft.name,
            profile: draft.profile,
            kubernetes_context: draft.kubernetes_context,
            external_server: draft.external_server,
            oidc_issuer_url: draft.oidc_issuer_url,
            oidc_issuer_ca_cert: draft.oidc_issuer_ca_cert,
            trust_provider: draft.trust_provider,
            extra_helm_values: draft.extra_helm_values,
            created_at: now(),
            updated_at: now(),
        };
        transaction.insert_cluster(&cluster).await?;
        let mut message = format!("cluster {} created in trust zone {}", cluster.name, zone.name);
        if let Some(first) = agent::nameless_beside(&mut transaction, &cluster.id, &zone).await? {
            message += &format!("; its agent cannot join before that of cluster {} has a SPIFFE ID that names its cluster", first.name);
        }
        let event = event(context, EventKind::ClusterCreation, message, [link(&cluster), trust_zone::link(&zone)], &snapshot(&cluster));
        self.commit(transaction, Some(Change::Cluster(cluster.id.clone())), event).await?;
        Ok(cluster)
    }

    /// Replaces everything but name, zone, organization and profile, which may be repeated and cannot change.
    pub async fn update_cluster(&self, context: &CallContext, draft: Draft) -> Result<Cluster> {
        let id = required("cluster.id", draft.id)?;
        let mut transaction = self.write().await?;
        let held = transaction.cluster(&id).await?.ok_or_else(|| Error::not_found(NOUN, &id))?;
        immutable("cluster.name", Some(&draft.name), &held.name)?;
        immutable("cluster.trust_zone_id", Some(&draft.trust_zone_id), &held.trust_zone_id)?;
        immutable("cluster.org_id", draft.organization_id.as_ref(), &held.organization_id)?;
        immutable("cluster.profile", Some(&draft.profile), &held.profile)?;
        let cluster = Cluster {
            kubernetes_context: draft.kubernetes_context,
            external_server: draft.external_server,
            oidc_issuer_url: draft.oidc_issuer_url,
            oidc_issuer_ca_cert: draft.oidc_issuer_ca_cert,
            trust_provider: draft.trust_provider,
            extra_helm_values: draft.extra_helm_values,
            updated_at: now(),
            ..held
        };
        transaction.update_cluster(&cluster).await?;
        let message = format!("cluster {} updated", cluster.name);
        let event = event(context, EventKind::ClusterUpdate, message, [link(&cluster)], &snapshot(&cluster));
        self.commit(transaction, Some(Change::Cluster(cluster.id.clone())), event).await?;
        Ok(cluster)
    }

    /// Takes the cluster's agent, its join token and its federated services with it.
    pub async fn destroy_cluster(&self, context: &CallContext, id: &ClusterId) -> Result<()> {
        let mut transaction = self.write().await?;
        let cluster = transaction.cluster(id).await?.ok_or_else(|| Error::not_found(NOUN, id))?;
        transaction.delete_cluster(id).await?;
        let message = format!("cluster {} deleted, with its agent and its federated services", cluster.name);
        let event = event(context, EventKind::ClusterDeletion, message, [link(&cluster)], &snapshot(&cluster));
        self.commit(transaction, Some(Change::Cluster(id.clone())), event).await
    }
}

pub(super) fn link(cluster: &Cluster) -> (EntityKind, String) {
    (EntityKind::Cluster, cluster.id.to_string())
}

fn snapshot(cluster: &Cluster) -> Value {
    json!({
        "id": cluster.id,
        "org_id": cluster.organization_id,
        "trust_zone_id": cluster.trust_zone_id,
        "name": cluster.name,
        "profile": cluster.profile.as_str(),
        "kubernetes_context": cluster.kubernetes_context,
        "external_server": cluster.external_server,
        "oidc_issuer_url": cluster.oidc_issuer_url,
    })
}
