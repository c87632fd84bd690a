//! Attestation policies and where they are bound.

use cofide_core::{KubernetesPolicy, LabelSelector, MatchExpression, PolicyKind, Timestamp, TpmNodePolicy};
use cofide_store::{
    AttestationPolicies, AttestationPoliciesMut, AttestationPolicyBindingFilter, AttestationPolicyBindings, AttestationPolicyBindingsMut,
    AttestationPolicyFilter, Database, OrganizationsMut, TrustZonesMut,
};

use crate::builders::{binding, id, policy, zone};
use crate::objects::{attempted, organization, taken, two_zones, used_by, written};

pub(crate) async fn policies_of_every_kind_are_kept<D: Database>(database: &D) {
    let labels = LabelSelector {
        match_labels: [("app".to_owned(), "server".to_owned())].into(),
        match_expressions: vec![MatchExpression {
            key: "tier".to_owned(),
            operator: "In".to_owned(),
            values: vec!["a".to_owned(), "b".to_owned()],
        }],
    };
    let mut kubernetes = policy("kubernetes");
    kubernetes.kind = PolicyKind::Kubernetes(KubernetesPolicy {
        namespace_selector: Some(labels.clone()),
        pod_selector: Some(labels),
        dns_name_templates: vec!["{{ .PodMeta.Name }}".to_owned()],
        spiffe_id_path_template: Some("ns/{{ .PodMeta.Namespace }}".to_owned()),
    });
    kubernetes.trust_zone_id = Some(id("kept-as-given"));
    kubernetes.federations = vec![id("b"), id("a")];
    let mut tpm = policy("tpm");
    tpm.kind = PolicyKind::TpmNode(TpmNodePolicy { ek_hash: Some("ab".repeat(32)), selector_values: vec!["x".to_owned()] });
    let all = [kubernetes.clone(), policy("static"), tpm.clone()];
    written(database, async |write| {
        write.insert_organization(&organization()).await?;
        for policy in &all {
            write.insert_attestation_policy(policy).await?;
        }
        Ok(())
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    let mut listed = async |filter: AttestationPolicyFilter| read.attestation_policies(&filter).await.unwrap();
    assert_eq!(listed(AttestationPolicyFilter::default()).await, all, "by name");
    assert_eq!(listed(AttestationPolicyFilter { kind: Some("tpm-node"), ..Default::default() }).await, [tpm.clone()]);
    assert_eq!(listed(AttestationPolicyFilter { ek_hash: Some("ab".repeat(32)), ..Default::default() }).await, [tpm.clone()]);
    assert_eq!(listed(AttestationPolicyFilter { trust_zone_id: Some(id("kept-as-given")), ..Default::default() }).await, [kubernetes]);
    drop(read);
    tpm.kind = policy("tpm").kind;
    written(database, async |write| write.update_attestation_policy(&tpm).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.attestation_policy(&tpm.id).await.unwrap(), Some(tpm));
    let by_hash = AttestationPolicyFilter { ek_hash: Some("ab".repeat(32)), ..Default::default() };
    assert_eq!(read.attestation_policies(&by_hash).await.unwrap(), []);
}

pub(crate) async fn policy_names_are_unique<D: Database>(database: &D) {
    two_zones(database).await;
    let mut same_name = policy("ping-pong");
    same_name.id = id("other");
    let refused = attempted(database, async |write| write.insert_attestation_policy(&same_name).await).await;
    assert_eq!(taken(refused), "attestation policy with name \"ping-pong\"");
}

pub(crate) async fn a_policy_is_not_deleted_while_it_is_bound<D: Database>(database: &D) {
    two_zones(database).await;
    let refused = attempted(database, async |write| write.delete_attestation_policy(&id("ping-pong")).await).await;
    assert_eq!(used_by(refused), "a binding in trust zone a");
    written(database, async |write| {
        write.delete_attestation_policy_binding(&id("a-ping-pong")).await?;
        write.delete_attestation_policy_binding(&id("b-ping-pong")).await?;
        write.delete_attestation_policy(&id("ping-pong")).await
    })
    .await;
    assert_eq!(database.begin_read().await.unwrap().attestation_policies(&Default::default()).await.unwrap(), []);
}

pub(crate) async fn bindings_keep_the_order_of_their_federations<D: Database>(database: &D) {
    two_zones(database).await;
    let mut kept = binding("a", "ping-pong", &["z", "b", "m"]);
    written(database, async |write| {
        write.insert_trust_zone(&zone("m")).await?;
        write.insert_trust_zone(&zone("z")).await?;
        write.update_attestation_policy_binding(&kept).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.attestation_policy_binding(&kept.id).await.unwrap().as_ref(), Some(&kept));
    let all = read.attestation_policy_bindings(&AttestationPolicyBindingFilter::default()).await.unwrap();
    assert_eq!(all, [kept.clone(), binding("b", "ping-pong", &["a"])]);
    drop(read);
    kept.federates_with.clear();
    kept.updated_at = Timestamp(7);
    written(database, async |write| write.update_attestation_policy_binding(&kept).await).await;
    assert_eq!(database.begin_read().await.unwrap().attestation_policy_binding(&kept.id).await.unwrap(), Some(kept));
}

pub(crate) async fn a_policy_is_bound_once_in_a_zone<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = binding("a", "ping-pong", &[]);
    again.id = id("again");
    let refused = attempted(database, async |write| write.insert_attestation_policy_binding(&again).await).await;
    assert_eq!(taken(refused), "attestation policy binding with policy ping-pong in trust zone a");
}
