//! Who is talked to, and who is not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_connect_client::{
    AccessToken, ConnectError, Credential, connect_as_agent, connect_as_user, connect_to_join, explain, refused_identity,
};
use cofide_svid::authority::X509CertificateAuthority;
use cofide_svid::{BundleSet, IdentitySlot, X509Svid};
use cofide_xds::Node;
use cofide_xds::client::{DeltaSubscription, Versions};
use cofide_xds::envoy::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use cofide_xds::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::transport::Channel;

use crate::support::{
    AGENT, CONNECT, Heard, TestConnect, agent, authority, bootstrap, bundle, credential, id, short_lived, svid, url, within,
};

async fn open(channel: &Channel) -> Result<DeltaSubscription, tonic::Status> {
    within(DeltaSubscription::open(channel.clone(), Node::default(), &["t"], Versions::new())).await
}

#[tokio::test]
async fn a_person_is_known_by_the_token_and_shows_no_certificate() {
    let authority = authority("management.local");
    let mut connect = TestConnect::start(svid(&authority, CONNECT)).await;
    let channel = within(connect_as_user(&credential(&authority, connect.address))).await.unwrap();
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    requests.send(DeltaDiscoveryRequest { type_url: "t".to_owned(), ..DeltaDiscoveryRequest::default() }).await.unwrap();
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let _responses = within(client.delta_aggregated_resources(stream)).await.unwrap();
    let Heard::Stream { authorization, spiffe_id } = connect.heard().await else { panic!("no receipt was due") };
    assert_eq!((authorization.as_deref(), spiffe_id), (Some("Bearer hunter2"), None));
}

#[tokio::test]
async fn an_agent_that_joins_shows_no_certificate() {
    let authority = authority("management.local");
    let mut connect = TestConnect::start(svid(&authority, CONNECT)).await;
    let channel = within(connect_to_join(&bootstrap(&authority, connect.address))).await.unwrap();
    let _subscription = open(&channel).await.unwrap();
    let Heard::Stream { authorization, spiffe_id } = connect.heard().await else { panic!("no receipt was due") };
    assert_eq!((authorization, spiffe_id), (None, None));
}

#[tokio::test]
async fn an_agent_shows_the_identity_that_it_has_at_that_moment() {
    let management = authority("management.local");
    let zone = authority("a.test");
    let mut connect = TestConnect::start(svid(&management, CONNECT)).await;
    connect.client_bundles.set(bundle(&zone));
    let slot = Arc::new(IdentitySlot::default());
    let bundles = Arc::new(BundleSet::from_iter([bundle(&management)]));
    let channel = connect_as_agent(&url(connect.address), id(CONNECT), bundles, slot.clone());
    let later = "spiffe://a.test/ns/cofide/sa/cofide-agent";
    let status = open(&channel).await.unwrap_err();
    assert_eq!(ConnectError::within(&status), Some(&ConnectError::NoIdentity), "{status:?}");
    assert!(connect.heard.try_recv().is_err(), "a connection without an identity would be in the way of one with it");
    for identity in [AGENT, later] {
        slot.set(svid(&zone, identity));
        let _subscription = within(async {
            // The channel may find out with one call that the server is another one.
            loop {
                if let Ok(subscription) = open(&channel).await {
                    return subscription;
                }
            }
        })
        .await;
        let Heard::Stream { spiffe_id, .. } = connect.heard().await else { panic!("no receipt was due") };
        assert_eq!(spiffe_id.as_deref(), Some(identity));
        // A new connection, at the same address.
        let address = connect.address;
        connect.stop().await;
        connect = TestConnect::start_at(address, svid(&management, CONNECT), cofide_xds::Cache::new()).await;
        connect.client_bundles.set(bundle(&zone));
    }
}

/// An agent that talks to Connect with a certificate that expires soon.
struct Expiring {
    zone: X509CertificateAuthority,
    connect: TestConnect,
    first: X509Svid,
    slot: Arc<IdentitySlot>,
    channel: Channel,
    stream: DeltaSubscription,
}

impl Expiring {
    async fn start(lifetime: Duration) -> Self {
        let (management, zone) = (authority("management.local"), authority("a.test"));
        let connect = TestConnect::start(svid(&management, CONNECT)).await;
        connect.client_bundles.set(bundle(&zone));
        let bundles = Arc::new(BundleSet::from_iter([bundle(&management)]));
        let first = short_lived(&zone, AGENT, lifetime);
        let slot = Arc::new(IdentitySlot::new(first.clone()));
        let channel = connect_as_agent(&url(connect.address), id(CONNECT), bundles, slot.clone());
        let stream = open(&channel).await.unwrap();
        Self { zone, connect, first, slot, channel, stream }
    }
}

#[tokio::test]
async fn a_connection_gives_way_before_its_certificate_expires_and_the_next_one_shows_the_next() {
    let Expiring { zone, mut connect, first, slot, channel, mut stream } = Expiring::start(Duration::from_secs(4)).await;
    let Heard::Stream { spiffe_id, .. } = connect.heard().await else { panic!("no receipt was due") };
    assert_eq!(spiffe_id.as_deref(), Some(AGENT));

    let later = "spiffe://a.test/ns/cofide/sa/cofide-agent";
    slot.set(svid(&zone, later));
    within(async { while matches!(stream.next().await, Ok(Some(_))) {} }).await;
    assert!(SystemTime::now() < first.not_after, "the connection lasted longer than its certificate");
    let _again = open(&channel).await.unwrap();
    let Heard::Stream { spiffe_id, .. } = connect.heard().await else { panic!("no receipt was due") };
    assert_eq!(spiffe_id.as_deref(), Some(later));
}

#[tokio::test]
async fn a_connection_lasts_while_there_is_no_other_identity_and_gives_way_to_one_that_comes_late() {
    let Expiring { zone, mut connect, first, slot, mut stream, channel: _channel } = Expiring::start(Duration::from_secs(6)).await;
    connect.heard().await;

    // Past three quarters of its life.
    let rest = first.not_after.duration_since(SystemTime::now()).unwrap() - Duration::from_millis(1300);
    let ends = async { while matches!(stream.next().await, Ok(Some(_))) {} };
    tokio::pin!(ends);
    tokio::time::timeout(rest, &mut ends).await.expect_err("it lasts: a new connection would be worth no more");
    slot.set(svid(&zone, AGENT));
    within(ends).await;
    assert!(SystemTime::now() < first.not_after, "the connection lasted longer than its certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_an_agent_that_is_not_recognised_learns_why() {
    let (management, before, after) = (authority("management.local"), authority("a.test"), authority("a.test"));
    let mut connect = TestConnect::start(svid(&management, CONNECT)).await;
    connect.client_bundles.set(bundle(&before));
    let bundles = Arc::new(BundleSet::from_iter([bundle(&management)]));
    let slot = Arc::new(IdentitySlot::new(svid(&after, AGENT)));
    let channel = connect_as_agent(&url(connect.address), id(CONNECT), bundles, slot);
    // Several at a time, as an agent makes them: one connection fails them all.
    for _ in 0..10 {
        let (one, two, three) = tokio::join!(open(&channel), open(&channel), open(&channel));
        for call in [one, two, three] {
            let status = call.unwrap_err();
            assert!(refused_identity(&status).is_some(), "{}", explain(&status));
        }
    }
    assert!(connect.heard.try_recv().is_err());
    connect.client_bundles.set(bundle(&after));
    open(&channel).await.expect("it is recognised now");
}

#[tokio::test]
async fn connect_may_rotate_its_authority_under_a_channel() {
    let mut management = authority("management.local");
    let bundles = Arc::new(BundleSet::from_iter([bundle(&management)]));
    let connect = TestConnect::start(svid(&management, CONNECT)).await;
    let address = connect.address;
    let channel = connect_as_agent(&url(address), id(CONNECT), bundles.clone(), agent());
    open(&channel).await.unwrap();
    management.prepare(SystemTime::now()).unwrap();
    bundles.set(bundle(&management));
    management.activate(SystemTime::now()).unwrap();
    connect.stop().await;
    let mut connect = TestConnect::start_at(address, svid(&management, CONNECT), cofide_xds::Cache::new()).await;
    within(async { while open(&channel).await.is_err() {} }).await;
    assert!(matches!(connect.heard().await, Heard::Stream { .. }));
}

#[tokio::test]
async fn a_server_with_the_name_but_not_the_authority_is_refused_and_told_nothing() {
    let (real, forged) = (authority("management.local"), authority("management.local"));
    let mut connect = TestConnect::start(svid(&forged, CONNECT)).await;
    let error = within(connect_as_user(&credential(&real, connect.address))).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Refused { url, .. } if *url == connect.address.to_string()), "{error}");
    let error = within(connect_to_join(&bootstrap(&real, connect.address))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");

    let bundles = Arc::new(BundleSet::from_iter([bundle(&real)]));
    let channel = connect_as_agent(&url(connect.address), id(CONNECT), bundles, agent());
    let status = open(&channel).await.unwrap_err();
    assert!(matches!(ConnectError::within(&status), Some(ConnectError::Refused { .. })), "{status:?}");
    assert!(connect.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_server_with_the_authority_but_another_name_is_refused_by_both_names() {
    let authority = authority("management.local");
    let connect = TestConnect::start(svid(&authority, "spiffe://management.local/ns/demo/sa/other")).await;
    let error = within(connect_as_user(&credential(&authority, connect.address))).await.unwrap_err().to_string();
    assert!(error.contains("/ns/demo/sa/other") && error.contains(CONNECT), "{error}");
}

#[tokio::test]
async fn whatever_else_may_answer_is_named() {
    let authority = authority("management.local");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        listener
    });
    let error = within(connect_as_user(&credential(&authority, address))).await.unwrap_err();
    assert_eq!(error, ConnectError::NotTls { url: address.to_string() });

    // The port is known to be free again: its listener is dropped here.
    drop(plain.await.unwrap());
    let error = within(connect_as_user(&credential(&authority, address))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()) && error.to_string().contains("refused"), "{error}");

    let mut nowhere = credential(&authority, address);
    nowhere.connect_url = Some("connect.invalid:1".parse().unwrap());
    let error = within(connect_as_user(&nowhere)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_agree_to_http2_is_named() {
    let authority = authority("management.local");
    let identity = Arc::new(IdentitySlot::new(svid(&authority, CONNECT)));
    for offered in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = cofide_svid::tls::server_config(identity.clone(), Arc::new(BundleSet::new()), cofide_svid::ClientAuth::None);
        config.alpn_protocols = offered;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await;
        });
        let error = within(connect_as_user(&credential(&authority, address))).await.unwrap_err();
        assert_eq!(error, ConnectError::NotHttp2 { url: address.to_string() });
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_credential_that_lacks_something_says_what() {
    let whole = credential(&authority("management.local"), "127.0.0.1:1".parse().unwrap());
    let fails = async |credential: Credential| within(connect_as_user(&credential)).await.unwrap_err();
    assert_eq!(fails(Credential { connect: None, ..whole.clone() }).await, ConnectError::NoTrust);
    assert_eq!(fails(Credential { connect_url: None, ..whole.clone() }).await, ConnectError::NoUrl);
    assert_eq!(fails(Credential { access_token: AccessToken::new("two\nlines"), ..whole }).await, ConnectError::Token);
}
