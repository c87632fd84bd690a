//! What an agent hears of its plan.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use cofide_api::convert::plan::{FEDERATED_TRUST, IMPORTED_SERVICE, TYPE_URLS};
use cofide_api::plan as proto;
use cofide_connect_client::{PlanChanges, PlanStream, PlanStreamState, Versions, connect_as_agent};
use cofide_core::{FederatedTrust, ImportedService, TlsMode, TrustDomain};
use cofide_plan::PlanResource;
use cofide_svid::authority::X509CertificateAuthority;
use cofide_svid::{BundleSet, IdentitySlot};
use cofide_xds::{Cache, Node, Outcome, Resource};

use crate::support::{AGENT, CONNECT, TestConnect, agent, authority, bundle, id, svid, url, within};

fn import(name: &str, port: i64) -> ImportedService {
    ImportedService {
        hostname: format!("{name}.demo.b.test").parse().unwrap(),
        port: port.try_into().unwrap(),
        tls_mode: TlsMode::Mtls,
        trust_domain: TrustDomain::new("b.test").unwrap(),
        spiffe_id_paths: Vec::new(),
        gateways: Vec::new(),
    }
}

fn import_resource(name: &str, port: i64) -> Resource {
    let import = import(name, port);
    Resource::new(IMPORTED_SERVICE, import.hostname.as_str(), &proto::ImportedService::from(&import))
}

fn trust() -> FederatedTrust {
    FederatedTrust {
        trust_domain: TrustDomain::new("b.test").unwrap(),
        trust_zone_name: "trust-zone-b".parse().unwrap(),
        bundle: Some(bundle(&authority("b.test"))),
        bundle_endpoint: None,
    }
}

fn plan_stream(authority: &X509CertificateAuthority, address: SocketAddr, held: Versions) -> PlanStream {
    let bundles = Arc::new(BundleSet::from_iter([bundle(authority)]));
    let channel = connect_as_agent(&url(address), id(CONNECT), bundles, agent());
    PlanStream::new(channel, Node::default(), held)
}

/// The next changes of imports; all others are acknowledged on the way.
async fn next_imports(stream: &mut PlanStream) -> PlanChanges {
    loop {
        let changes = within(stream.next()).await;
        if changes.type_url == IMPORTED_SERVICE {
            return changes;
        }
        stream.acknowledge(changes.receipt).await;
    }
}

/// The first label of what is set, and what is removed.
fn describe(changes: &PlanChanges) -> String {
    let first = |name: &str| name.split('.').next().unwrap().to_owned();
    let set = changes.set.iter().map(|resource| format!("+{}", first(&resource.name)));
    let removed = changes.removed.iter().map(|name| format!("-{}", first(name)));
    set.chain(removed).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_type_is_told_whole_and_what_comes_is_decoded() {
    let authority = authority("management.local");
    let mut connect = TestConnect::start(svid(&authority, CONNECT)).await;
    connect.cache.set(IMPORTED_SERVICE, import_resource("one", 8443));
    let trust = trust();
    connect.cache.set(FEDERATED_TRUST, Resource::new(FEDERATED_TRUST, "b.test", &proto::FederatedTrust::from(&trust)));
    let mut stream = plan_stream(&authority, connect.address, Versions::new());
    let (mut complete, mut resources) = (BTreeSet::new(), Vec::new());
    while complete.len() < TYPE_URLS.len() {
        let changes = within(stream.next()).await;
        assert!(changes.completes && changes.receipt.rejected.is_empty());
        complete.insert(changes.type_url);
        resources.extend(changes.set.into_iter().map(|received| received.resource));
        stream.acknowledge(changes.receipt).await;
    }
    assert_eq!(*stream.state().borrow(), PlanStreamState::Connected);
    assert_eq!(resources.len(), 2);
    assert!(resources.contains(&PlanResource::Import(import("one", 8443))));
    assert!(resources.contains(&PlanResource::Trust(trust)));
    for _ in TYPE_URLS {
        assert_eq!(connect.receipt().await.outcome, Outcome::Applied);
    }
    connect.cache.remove(IMPORTED_SERVICE, "one.demo.b.test");
    assert_eq!(describe(&next_imports(&mut stream).await), "-one");
}

#[tokio::test]
async fn a_resource_that_is_not_usable_is_left_out_and_reported_by_name() {
    let authority = authority("management.local");
    let mut connect = TestConnect::start(svid(&authority, CONNECT)).await;
    let mut no_port = proto::ImportedService::from(&import("none", 1));
    no_port.port = 0;
    connect.cache.replace(
        IMPORTED_SERVICE,
        vec![
            import_resource("good", 8443),
            Resource::new(IMPORTED_SERVICE, "no-port.demo.b.test", &no_port),
            Resource::new(IMPORTED_SERVICE, "garbage", &vec![0xff_u8; 9]),
            Resource::new(IMPORTED_SERVICE, "other.demo.b.test", &proto::ImportedService::from(&import("one", 1))),
            Resource::new(FEDERATED_TRUST, "misplaced", &proto::FederatedTrust::from(&trust())),
        ],
    );
    let mut stream = plan_stream(&authority, connect.address, Versions::new());
    let changes = next_imports(&mut stream).await;
    assert_eq!(describe(&changes), "+good");
    stream.acknowledge(changes.receipt).await;
    let receipt = loop {
        let receipt = connect.receipt().await;
        if receipt.type_url == IMPORTED_SERVICE {
            break receipt;
        }
    };
    assert_eq!(receipt.outcome_of("good.demo.b.test"), Ok(()));
    for (name, reason) in [
        ("no-port.demo.b.test", "imported_service.port"),
        ("garbage", "not a type.googleapis.com/cofide.plan.v1alpha1.ImportedService"),
        ("other.demo.b.test", "it is about one.demo.b.test"),
        ("misplaced", "FederatedTrust"),
    ] {
        let found = receipt.outcome_of(name).unwrap_err();
        assert!(found.contains(reason), "{name}: {found}");
    }
}

#[tokio::test]
async fn after_a_restart_of_connect_only_what_changed_arrives() {
    let authority = authority("management.local");
    let connect = TestConnect::start(svid(&authority, CONNECT)).await;
    connect.cache.replace(IMPORTED_SERVICE, vec![import_resource("same", 1), import_resource("changed", 1), import_resource("gone", 1)]);
    let address = connect.address;
    let mut stream = plan_stream(&authority, address, Versions::new());
    let mut state = stream.state();
    let changes = next_imports(&mut stream).await;
    assert_eq!(changes.set.len(), 3);
    stream.acknowledge(changes.receipt).await;
    connect.stop().await;

    let cache = Cache::new();
    cache.replace(IMPORTED_SERVICE, vec![import_resource("same", 1), import_resource("changed", 2)]);
    let restarted = async {
        // While nobody is there, the agent says so.
        within(state.wait_for(|state| matches!(state, PlanStreamState::Disconnected { .. }))).await.unwrap();
        TestConnect::start_at(address, svid(&authority, CONNECT), cache).await
    };
    let (_connect, changes) = tokio::join!(restarted, next_imports(&mut stream));
    assert_eq!(describe(&changes), "+changed -gone");
    assert!(changes.completes);
    assert_eq!(*stream.state().borrow(), PlanStreamState::Connected);
}

#[tokio::test]
async fn an_agent_that_kept_its_versions_gets_only_what_changed() {
    let authority = authority("management.local");
    let connect = TestConnect::start(svid(&authority, CONNECT)).await;
    let same = import_resource("same", 1);
    connect.cache.replace(IMPORTED_SERVICE, vec![same.clone(), import_resource("new", 1)]);
    let kept = [(same.name(), same.version()), ("gone.demo.b.test", "1")];
    let held = kept.map(|(name, version)| (name.to_owned(), version.to_owned())).into();
    let mut stream = plan_stream(&authority, connect.address, Versions::from([(IMPORTED_SERVICE.to_owned(), held)]));
    assert_eq!(describe(&next_imports(&mut stream).await), "+new -gone");
}

/// The first changes of each type, none of them acknowledged.
async fn first_of_each_type(stream: &mut PlanStream) -> Vec<PlanChanges> {
    let mut all = Vec::new();
    while all.len() < TYPE_URLS.len() {
        all.push(within(stream.next()).await);
    }
    all
}

#[tokio::test]
async fn what_was_not_acknowledged_before_the_stream_broke_comes_again_and_only_then_counts() {
    let authority = authority("management.local");
    let connect = TestConnect::start(svid(&authority, CONNECT)).await;
    connect.cache.set(IMPORTED_SERVICE, import_resource("one", 1));
    let address = connect.address;
    let mut stream = plan_stream(&authority, address, Versions::new());
    let early = first_of_each_type(&mut stream).await;
    connect.stop().await;
    let cache = Cache::new();
    cache.set(IMPORTED_SERVICE, import_resource("one", 1));
    let mut connect = TestConnect::start_at(address, svid(&authority, CONNECT), cache).await;
    let again = first_of_each_type(&mut stream).await;
    assert!(again.iter().any(|changes| describe(changes) == "+one"));
    // The nonces of the first stream are those of other responses now.
    for changes in early {
        stream.acknowledge(changes.receipt).await;
    }
    for mut changes in again {
        changes.receipt.rejected.insert("one.demo.b.test".to_owned(), "said on the second stream".to_owned());
        stream.acknowledge(changes.receipt).await;
    }
    for _ in TYPE_URLS {
        let receipt = connect.receipt().await;
        assert_eq!(receipt.outcome_of("one.demo.b.test"), Err("said on the second stream"), "{receipt:?}");
    }
}

#[tokio::test]
async fn the_state_says_why_there_is_no_stream() {
    let (real, forged) = (authority("management.local"), authority("management.local"));
    let connect = TestConnect::start(svid(&forged, CONNECT)).await;
    let mut stream = plan_stream(&real, connect.address, Versions::new());
    let mut state = stream.state();
    assert_eq!(*state.borrow(), PlanStreamState::Connecting);
    let refused =
        |state: &PlanStreamState| matches!(state, PlanStreamState::Disconnected { reason } if reason.contains("refusing to talk"));
    tokio::select! {
        changes = stream.next() => panic!("{changes:?}"),
        found = within(state.wait_for(refused)) => drop(found.unwrap()),
    }
}

#[tokio::test]
async fn an_agent_whose_authority_connect_does_not_know_is_told_the_way_back() {
    let management = authority("management.local");
    let (before, after) = (authority("a.test"), authority("a.test"));
    let connect = TestConnect::start(svid(&management, CONNECT)).await;
    connect.client_bundles.set(bundle(&before));
    let bundles = Arc::new(BundleSet::from_iter([bundle(&management)]));
    let identity = Arc::new(IdentitySlot::new(svid(&after, AGENT)));
    let channel = connect_as_agent(&url(connect.address), id(CONNECT), bundles, identity);
    let mut stream = PlanStream::new(channel, Node::default(), Versions::new());
    let mut state = stream.state();
    let remedy = "cofidectl trust-zone set-bundle ZONE --bundle-file FILE";
    let names_the_way = |state: &PlanStreamState| matches!(state, PlanStreamState::Disconnected { reason } if reason.contains(remedy));
    tokio::select! {
        changes = stream.next() => panic!("{changes:?}"),
        found = within(state.wait_for(names_the_way)) => drop(found.unwrap()),
    }
}
