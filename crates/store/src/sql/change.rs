use async_trait::async_trait;
use cofide_core::{Change, Noun, NounChange, NounId, Revision};

use super::columns::Columns;
use super::connection::{Connection, Row};
use super::statement::{Statement, document};
use super::transaction::Transaction;
use crate::{
    AttestationPolicies, AttestationPolicyBindings, Changes, Clusters, FederatedServices, Federations, KEPT_CHANGES, Result, TrustZones,
};

const NOUN: &str = "change";

pub(super) async fn revision(connection: &mut Connection) -> Result<Revision> {
    let value = Statement::new("SELECT value FROM revision").number(connection).await?;
    Ok(value.cast_unsigned())
}

/// The row of the counter is locked from here to the commit, so revisions are committed in their order.
pub(super) async fn append(connection: &mut Connection, change: &Change) -> Result<Revision> {
    let revision = Statement::new("UPDATE revision SET value = value + 1 RETURNING value").number(connection).await?;
    let insert = Statement::new("INSERT INTO change (revision, change_document) VALUES ($1, $2)").bind(revision).bind(document(change));
    insert.execute(connection).await?;
    let forget = Statement::new("DELETE FROM change WHERE revision <= $1").bind(revision - KEPT_CHANGES.cast_signed());
    forget.execute(connection).await?;
    Ok(revision.cast_unsigned())
}

/// What is there now, or that it is gone.
fn now(found: Option<impl Into<Noun>>, id: NounId) -> NounChange {
    found.map_or(NounChange::Remove(id), |noun| NounChange::Put(noun.into()))
}

#[async_trait]
impl<Access: Send> Changes for Transaction<Access> {
    async fn revision(&mut self) -> Result<Revision> {
        revision(self.connection()).await
    }

    async fn changes_since(&mut self, since: Revision) -> Result<Option<Vec<(Revision, Change)>>> {
        let newest = revision(self.connection()).await?;
        let Some(expected) = newest.checked_sub(since) else { return Ok(None) };
        let select = Statement::new("SELECT * FROM change WHERE revision > $1 ORDER BY revision").bind(since.cast_signed());
        let rows = select.rows(self.connection()).await?;
        if u64::try_from(rows.len()) != Ok(expected) {
            return Ok(None);
        }
        let change = |row: &Row| {
            let columns = Columns::of(NOUN, row);
            Ok((columns.plain::<i64>("revision")?.cast_unsigned(), columns.document("change_document")?))
        };
        rows.iter().map(change).collect::<Result<_>>().map(Some)
    }

    async fn resolve(&mut self, change: &Change) -> Result<Vec<NounChange>> {
        Ok(vec![match change {
            Change::TrustZone(id) | Change::BundleOf(id) => now(self.trust_zone(id).await?, NounId::TrustZone(id.clone())),
            Change::Cluster(id) => now(self.cluster(id).await?, NounId::Cluster(id.clone())),
            Change::Federation { id, .. } => now(self.federation(id).await?, NounId::Federation(id.clone())),
            Change::AttestationPolicy(id) => now(self.attestation_policy(id).await?, NounId::AttestationPolicy(id.clone())),
            Change::AttestationPolicyBinding { id, .. } => {
                now(self.attestation_policy_binding(id).await?, NounId::AttestationPolicyBinding(id.clone()))
            }
            Change::FederatedService { id, .. } => now(self.federated_service(id).await?, NounId::FederatedService(id.clone())),
            Change::ControlPlaneTrust => return Ok(Vec::new()),
        }])
    }

    async fn nouns(&mut self) -> Result<Vec<Noun>> {
        let mut nouns = Vec::new();
        nouns.extend(self.trust_zones(&Default::default()).await?.into_iter().map(Noun::from));
        nouns.extend(self.clusters(&Default::default()).await?.into_iter().map(Noun::from));
        nouns.extend(self.federations(&Default::default()).await?.into_iter().map(Noun::from));
        nouns.extend(self.attestation_policies(&Default::default()).await?.into_iter().map(Noun::from));
        nouns.extend(self.attestation_policy_bindings(&Default::default()).await?.into_iter().map(Noun::from));
        nouns.extend(self.federated_services(&Default::default()).await?.into_iter().map(Noun::from));
        Ok(nouns)
    }
}
