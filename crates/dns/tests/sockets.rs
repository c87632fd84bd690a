//! The resolver over real sockets, asked by hickory's client and by hand.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop at the first surprise, as tests do")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cofide_dns::{Answer, Bound, ResolveError, Resolver, ServeError, Upstream, ZoneHandle, serve};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::net::client::{Client, ClientHandle};
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::net::tcp::TcpClientStream;
use hickory_server::net::udp::UdpClientStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(10);

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn imported(names: &[(&str, u8)]) -> ZoneHandle {
    let zone = ZoneHandle::new();
    zone.set(addresses(names));
    zone
}

fn addresses(names: &[(&str, u8)]) -> BTreeMap<cofide_core::Hostname, Ipv4Addr> {
    names.iter().map(|(name, last)| (name.parse().unwrap(), Ipv4Addr::new(127, 0, 5, *last))).collect()
}

async fn start(zone: ZoneHandle, upstream: Upstream) -> Bound {
    serve(&[any_port()], zone, upstream, CancellationToken::new()).await.unwrap()
}

/// A name server that knows `example.com` and one long text, and nothing else.
struct Elsewhere;

#[async_trait]
impl Resolver for Elsewhere {
    async fn resolve(&self, asked: Name, kind: RecordType) -> Result<Answer, ResolveError> {
        let record = |data| Record::from_rdata(asked.clone(), 300, data);
        match (asked.to_ascii().to_lowercase().as_str(), kind) {
            ("example.com.", RecordType::A) => Ok(Answer::Records(vec![record(RData::A(A::new(192, 0, 2, 1)))])),
            ("long.example.com.", RecordType::TXT) => {
                let text = |part: usize| record(RData::TXT(TXT::new(vec![format!("{part:02}").repeat(100)])));
                Ok(Answer::Records((0..15).map(text).collect()))
            }
            ("broken.example.com.", _) => Err(ResolveError::Failed("as it is meant to".into())),
            _ => Ok(Answer::NoSuchName(None)),
        }
    }
}

async fn over_udp(server: SocketAddr, asked: &str, kind: RecordType) -> Message {
    let stream = UdpClientStream::builder(server, TokioRuntimeProvider::default()).build();
    let (mut client, background) = Client::<TokioRuntimeProvider>::from_sender(stream);
    tokio::spawn(background);
    client.query(name(asked), DNSClass::IN, kind).await.unwrap().into_message()
}

async fn over_tcp(server: SocketAddr, asked: &str, kind: RecordType) -> Message {
    let (stream, sender) = TcpClientStream::new(server, None, None, TokioRuntimeProvider::default());
    let (mut client, background) = Client::<TokioRuntimeProvider>::new(stream.await.unwrap(), sender);
    tokio::spawn(background);
    client.query(name(asked), DNSClass::IN, kind).await.unwrap().into_message()
}

fn address_in(response: &Message) -> Option<Ipv4Addr> {
    match response.answers.first()?.data {
        RData::A(address) => Some(address.0),
        _ => None,
    }
}

#[tokio::test]
async fn imported_and_other_names_are_answered_over_udp_and_tcp() {
    let bound = start(imported(&[("server.demo.a.test", 1)]), Upstream::Custom(Arc::new(Elsewhere))).await;
    let server = bound.addresses[0];
    for (asked, expected) in [("Server.demo.A.test.", Ipv4Addr::new(127, 0, 5, 1)), ("example.com.", Ipv4Addr::new(192, 0, 2, 1))] {
        assert_eq!(address_in(&over_udp(server, asked, RecordType::A).await), Some(expected));
        assert_eq!(address_in(&over_tcp(server, asked, RecordType::A).await), Some(expected));
    }
    let none = over_udp(server, "none.example.com.", RecordType::A).await;
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    let no_data = over_tcp(server, "server.demo.a.test.", RecordType::AAAA).await;
    assert_eq!((no_data.metadata.response_code, no_data.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(no_data.authorities[0].record_type(), RecordType::SOA);
}

#[tokio::test]
async fn a_name_works_as_soon_as_it_is_imported() {
    let zone = imported(&[]);
    let bound = start(zone.clone(), Upstream::Custom(Arc::new(Elsewhere))).await;
    let ask = || over_udp(bound.addresses[0], "server.demo.a.test.", RecordType::A);
    assert_eq!(ask().await.metadata.response_code, ResponseCode::NXDomain);
    zone.set(addresses(&[("server.demo.a.test", 7)]));
    assert_eq!(address_in(&ask().await), Some(Ipv4Addr::new(127, 0, 5, 7)));
    zone.set(BTreeMap::new());
    assert_eq!(ask().await.metadata.response_code, ResponseCode::NXDomain);
}

async fn raw_udp(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind(any_port()).await.unwrap();
    socket.send_to(packet, server).await.unwrap();
    let mut buffer = vec![0; 65535];
    let length = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("a response before the deadline").unwrap();
    buffer.truncate(length);
    buffer
}

fn question(asked: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(asked), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

#[tokio::test]
async fn what_does_not_fit_into_a_packet_is_marked_truncated_and_comes_whole_over_tcp() {
    let bound = start(imported(&[]), Upstream::Custom(Arc::new(Elsewhere))).await;
    for (payload, limit) in [(None, 512), (Some(900), 900), (Some(4096), 1232)] {
        let response = raw_udp(bound.addresses[0], &question("long.example.com.", RecordType::TXT, payload)).await;
        assert!(response.len() <= limit, "{} bytes for a payload of {payload:?}", response.len());
        let response = Message::from_vec(&response).unwrap();
        assert!(response.metadata.truncation && response.answers.len() < 15);
    }
    let whole = over_tcp(bound.addresses[0], "long.example.com.", RecordType::TXT).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 15);
}

#[tokio::test]
async fn malformed_packets_are_answered_or_dropped_and_harm_nobody() {
    let bound = start(imported(&[("server.demo.a.test", 1)]), Upstream::Nobody).await;
    let server = bound.addresses[0];
    let good = question("server.demo.a.test.", RecordType::A, None);

    // A question that promises more than it holds.
    let response = Message::from_vec(&raw_udp(server, &good[..good.len() - 3]).await).unwrap();
    assert_eq!((response.metadata.id, response.metadata.response_code), (4711, ResponseCode::FormErr));

    // Too short for a header; a response instead of a question: nobody is answered, and an answer to the good question
    // that follows on the same socket is the only one to arrive.
    let socket = UdpSocket::bind(any_port()).await.unwrap();
    let mut reflected = good.clone();
    reflected[2] |= 0x80;
    for packet in [&b""[..], b"short", &reflected, &good] {
        socket.send_to(packet, server).await.unwrap();
    }
    let mut buffer = [0; 512];
    let length = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("an answer before the deadline").unwrap();
    assert_eq!(address_in(&Message::from_vec(&buffer[..length]).unwrap()), Some(Ipv4Addr::new(127, 0, 5, 1)));

    // Over TCP the connection that speaks nonsense ends, and the next one is served.
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the end of the connection before the deadline").unwrap();
    assert_eq!(address_in(&over_tcp(server, "server.demo.a.test.", RecordType::A).await), Some(Ipv4Addr::new(127, 0, 5, 1)));
}

#[tokio::test]
async fn one_tcp_connection_carries_many_questions() {
    let bound = start(imported(&[("server.demo.a.test", 1)]), Upstream::Custom(Arc::new(Elsewhere))).await;
    let mut stream = TcpStream::connect(bound.addresses[0]).await.unwrap();
    let good = question("server.demo.a.test.", RecordType::A, None);
    let framed = [&u16::try_from(good.len()).unwrap().to_be_bytes()[..], &good].concat();
    stream.write_all(&framed.repeat(3)).await.unwrap();
    for _ in 0..3 {
        let length = tokio::time::timeout(DEADLINE, stream.read_u16()).await.expect("an answer before the deadline").unwrap();
        let mut response = vec![0; length.into()];
        stream.read_exact(&mut response).await.unwrap();
        assert_eq!(address_in(&Message::from_vec(&response).unwrap()), Some(Ipv4Addr::new(127, 0, 5, 1)));
    }
}

#[tokio::test]
async fn it_forwards_over_the_network_to_the_servers_that_were_configured() {
    let elsewhere = start(imported(&[]), Upstream::Custom(Arc::new(Elsewhere))).await;
    let bound = start(imported(&[("server.demo.a.test", 1)]), Upstream::Servers(elsewhere.addresses.clone())).await;
    let server = bound.addresses[0];
    assert_eq!(address_in(&over_udp(server, "example.com.", RecordType::A).await), Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(over_udp(server, "none.example.com.", RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(over_udp(server, "broken.example.com.", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
    let whole = over_tcp(server, "long.example.com.", RecordType::TXT).await;
    assert_eq!(whole.answers.len(), 15, "what the upstream truncates is fetched over TCP");
}

#[tokio::test]
async fn a_dead_upstream_hurts_only_the_names_that_are_not_imported() {
    // Bound and never read: the upstream that takes questions and says nothing.
    let silent = UdpSocket::bind(any_port()).await.unwrap();
    let upstream = Upstream::Servers(vec![silent.local_addr().unwrap()]);
    let bound = start(imported(&[("server.demo.a.test", 1)]), upstream).await;
    let server = bound.addresses[0];
    let stuck = tokio::spawn(async move { over_udp(server, "example.com.", RecordType::A).await });
    // The question is on its way to the silent server now.
    let mut buffer = [0; 512];
    tokio::time::timeout(DEADLINE, silent.recv(&mut buffer)).await.expect("the question is forwarded").unwrap();
    assert!(!stuck.is_finished());
    assert_eq!(address_in(&over_udp(server, "server.demo.a.test.", RecordType::A).await), Some(Ipv4Addr::new(127, 0, 5, 1)));
    let response = tokio::time::timeout(DEADLINE, stuck).await.expect("it is given up before the deadline").unwrap();
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_resolv_conf_that_names_this_resolver_alone_forwards_to_nobody() {
    // The file has no ports, so this is about port 53 and needs the right to listen there.
    let address: SocketAddr = "127.211.53.1:53".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.211.53.1\n").unwrap();
    let zone = imported(&[("server.demo.a.test", 1)]);
    let bound = match serve(&[address], zone, Upstream::ResolvConf(path), CancellationToken::new()).await {
        Ok(bound) => bound,
        Err(ServeError::Bind(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
        Err(error) => panic!("{error}"),
    };
    let response = over_udp(bound.addresses[0], "example.com.", RecordType::A).await;
    assert_eq!(response.metadata.response_code, ResponseCode::Refused);
    let response = over_udp(bound.addresses[0], "server.demo.a.test.", RecordType::A).await;
    assert_eq!(address_in(&response), Some(Ipv4Addr::new(127, 0, 5, 1)));
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_the_reason_and_the_next_step() {
    let bound = start(imported(&[]), Upstream::Nobody).await;
    let taken = bound.addresses[0];
    let error = serve(&[taken], imported(&[]), Upstream::Nobody, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()) && error.contains("another program has this port"), "{error}");

    let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let error = serve(&[foreign], imported(&[]), Upstream::Nobody, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("belongs to no interface"), "{error}");

    let nobody = serve(&[any_port()], imported(&[]), Upstream::Servers(vec![]), CancellationToken::new()).await;
    assert!(matches!(nobody, Err(ServeError::Upstream(ResolveError::NoUpstream))));
}

#[tokio::test]
async fn it_stops_when_told_and_leaves_its_port() {
    let shutdown = CancellationToken::new();
    let bound = serve(&[any_port()], imported(&[]), Upstream::Nobody, shutdown.clone()).await.unwrap();
    let address = bound.addresses[0];
    // An open connection does not hold it up.
    let _idle = TcpStream::connect(address).await.unwrap();
    shutdown.cancel();
    tokio::time::timeout(DEADLINE, bound.stopped()).await.expect("it stops before the deadline");
    UdpSocket::bind(address).await.unwrap();
}
