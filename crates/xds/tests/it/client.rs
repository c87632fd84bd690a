//! The subscription of this crate against the server of this crate.

use std::collections::BTreeMap;

use cofide_xds::client::{DeltaSubscription, Versions};
use cofide_xds::{Node, Outcome, Rejection};

use crate::support::{FREE, TestServer, free, ready_cache, within};

const OTHER: &str = "type.googleapis.com/test.Other";

async fn open(server: &TestServer, held: Versions) -> DeltaSubscription {
    DeltaSubscription::open(server.channel.clone(), Node::default(), &[FREE, OTHER], held).await.unwrap()
}

async fn next(subscription: &mut DeltaSubscription) -> cofide_xds::client::Changes {
    within(subscription.next()).await.unwrap().expect("the server ended the stream")
}

#[tokio::test]
async fn it_says_when_the_first_answer_is_complete_however_many_parts_it_has() {
    let server = TestServer::start(ready_cache()).await;
    let large = "x".repeat(400_000);
    server.cache.replace(FREE, (0..5).map(|number| free(&number.to_string(), &format!("{number}{large}"))).collect());
    let mut subscription = open(&server, Versions::new()).await;
    let (mut received, mut complete) = (0, Vec::new());
    while complete.len() < 2 {
        let changes = next(&mut subscription).await;
        received += changes.set.len();
        if changes.completes_initial {
            assert!(changes.type_url != FREE || received == 5, "{received} of 5 resources");
            complete.push(changes.type_url.clone());
        }
        subscription.ack(&changes.nonce).await.unwrap();
    }
    server.cache.set(FREE, free("0", "small"));
    let changes = next(&mut subscription).await;
    assert!(!changes.completes_initial, "that happens once");
}

#[tokio::test]
async fn it_resumes_with_what_it_acknowledged() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.replace(FREE, vec![free("same", "1"), free("changed", "1"), free("gone", "1")]);
    let mut subscription = open(&server, Versions::new()).await;
    for _ in 0..2 {
        let changes = next(&mut subscription).await;
        subscription.ack(&changes.nonce).await.unwrap();
    }
    let held = subscription.versions().clone();
    assert_eq!(held[FREE].len(), 3);
    drop(subscription);
    server.cache.replace(FREE, vec![free("same", "1"), free("changed", "2")]);
    let mut subscription = open(&server, held).await;
    loop {
        let changes = next(&mut subscription).await;
        subscription.ack(&changes.nonce).await.unwrap();
        if changes.type_url == FREE {
            let names: Vec<_> = changes.set.iter().map(|resource| resource.name.as_str()).collect();
            assert_eq!((names, changes.removed), (vec!["changed"], vec!["gone".to_owned()]));
            break;
        }
    }
    assert_eq!(subscription.versions()[FREE].keys().collect::<Vec<_>>(), ["changed", "same"]);
}

#[tokio::test]
async fn what_it_rejects_by_name_is_offered_again_on_the_next_stream_and_the_rest_is_not() {
    let mut server = TestServer::start(ready_cache()).await;
    server.cache.replace(FREE, vec![free("good", "1"), free("bad", "1")]);
    let mut subscription = open(&server, Versions::new()).await;
    let changes = loop {
        let changes = next(&mut subscription).await;
        if changes.type_url == FREE {
            break changes;
        }
    };
    let rejection = Rejection::of(BTreeMap::from([("bad".to_owned(), "no port".to_owned())]));
    subscription.nack(&changes.nonce, rejection.clone()).await.unwrap();
    let receipt = server.receipt().await;
    assert_eq!(receipt.outcome, Outcome::Rejected(rejection));
    assert_eq!((receipt.outcome_of("good"), receipt.outcome_of("bad")), (Ok(()), Err("no port")));

    let mut subscription = open(&server, subscription.versions().clone()).await;
    let changes = loop {
        let changes = next(&mut subscription).await;
        if changes.type_url == FREE {
            break changes;
        }
    };
    let names: Vec<_> = changes.set.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["bad"]);
}
