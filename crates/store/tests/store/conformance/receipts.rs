use cofide_core::{Receipt, ReceiptOutcome, Timestamp};
use cofide_store::{AgentsMut, Database, ReceiptFilter, Receipts, ReceiptsMut};

use crate::builders::id;
use crate::objects::{two_zones, written};

const TYPE: &str = "type.googleapis.com/cofide.plan.v1alpha1.ImportedService";

fn receipt(agent: &str, cluster: &str, name: &str) -> Receipt {
    Receipt {
        agent_id: id(agent),
        cluster_id: id(cluster),
        type_url: TYPE.to_owned(),
        resource_name: name.to_owned(),
        version: "v1".to_owned(),
        outcome: ReceiptOutcome::Applied,
        at: Timestamp(1),
    }
}

pub(crate) async fn put<D: Database>(database: &D, agent: &str, cluster: &str, name: &str) {
    written(database, async |write| write.put_receipt(&receipt(agent, cluster, name)).await).await;
}

pub(crate) async fn the_last_word_about_a_resource_is_kept<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, "agent-one", "one", "x").await;
    let mut rejected = receipt("agent-one", "one", "x");
    rejected.version = "v2".to_owned();
    rejected.outcome = ReceiptOutcome::Rejected("no free address".to_owned());
    rejected.at = Timestamp(2);
    written(database, async |write| write.put_receipt(&rejected).await).await;
    assert_eq!(database.begin_read().await.unwrap().receipts(&ReceiptFilter::default()).await.unwrap(), [rejected]);
    written(database, async |write| {
        write.delete_receipt(&id("agent-one"), TYPE, "x").await?;
        write.delete_receipt(&id("agent-one"), TYPE, "never there").await
    })
    .await;
    assert_eq!(database.begin_read().await.unwrap().receipts(&ReceiptFilter::default()).await.unwrap(), []);
}

pub(crate) async fn receipts_are_listed_by_zone_cluster_type_and_name<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, "agent-two", "two", "x").await;
    put(database, "agent-one", "one", "y").await;
    put(database, "agent-one", "one", "x").await;
    let mut read = database.begin_read().await.unwrap();
    let mut listed = async |filter: ReceiptFilter| {
        let receipts = read.receipts(&filter).await.unwrap();
        receipts.into_iter().map(|receipt| format!("{} {}", receipt.cluster_id, receipt.resource_name)).collect::<Vec<_>>()
    };
    assert_eq!(listed(ReceiptFilter::default()).await, ["one x", "one y", "two x"]);
    assert_eq!(listed(ReceiptFilter { trust_zone_id: Some(id("a")), ..Default::default() }).await, ["one x", "one y"]);
    assert_eq!(listed(ReceiptFilter { cluster_id: Some(id("two")), ..Default::default() }).await, ["two x"]);
    assert_eq!(listed(ReceiptFilter { resource_name: Some("x".to_owned()), ..Default::default() }).await, ["one x", "two x"]);
    assert!(listed(ReceiptFilter { type_url: Some("other".to_owned()), ..Default::default() }).await.is_empty());
}

pub(crate) async fn the_latest_receipt_of_each_cluster_is_found_without_reading_the_others<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, "agent-one", "one", "x").await;
    written(database, async |write| {
        write.put_receipt(&Receipt { at: Timestamp(7), ..receipt("agent-one", "one", "y") }).await?;
        write.put_receipt(&Receipt { at: Timestamp(3), ..receipt("agent-two", "two", "x") }).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    let all = [(id("one"), Timestamp(7)), (id("two"), Timestamp(3))];
    assert_eq!(read.latest_receipts(&ReceiptFilter::default()).await.unwrap(), all.clone().into());
    let of_one = ReceiptFilter { trust_zone_id: Some(id("a")), ..Default::default() };
    assert_eq!(read.latest_receipts(&of_one).await.unwrap(), all[..1].iter().cloned().collect());
}

pub(crate) async fn receipts_go_with_their_agent<D: Database>(database: &D) {
    two_zones(database).await;
    put(database, "agent-one", "one", "x").await;
    put(database, "agent-two", "two", "x").await;
    written(database, async |write| write.delete_agent(&id("agent-one")).await).await;
    let left = database.begin_read().await.unwrap().receipts(&ReceiptFilter::default()).await.unwrap();
    assert_eq!(left, [receipt("agent-two", "two", "x")]);
}
