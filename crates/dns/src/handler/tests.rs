use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::zone_handler::MessageResponse;
use proptest::prelude::*;

use super::*;
use crate::resolver::Resolver;

/// Answers everything with what it was told, and counts.
struct Fake {
    answer: Result<Answer, ResolveError>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Resolver for Arc<Fake> {
    async fn resolve(&self, name: Name, kind: RecordType) -> Result<Answer, ResolveError> {
        self.asked.lock().unwrap().push(format!("{name} {kind}"));
        self.answer.clone()
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn soa() -> Option<Box<Record>> {
    let data = SOA::new(name("ns.test."), name("mail.test."), 1, 2, 3, 4, 3600);
    Some(Box::new(Record::from_rdata(name("test."), 3600, RData::SOA(data))))
}

/// A handler that has imported one name, over an upstream that always says the same.
fn handler(answer: Result<Answer, ResolveError>) -> (Handler, Arc<Fake>) {
    let zone = ZoneHandle::new();
    zone.set(BTreeMap::from([("server.demo.a.test".parse().unwrap(), Ipv4Addr::new(127, 0, 5, 1))]));
    let fake = Arc::new(Fake { answer, asked: Mutex::default() });
    (Handler::new(zone, Bounded::new(Arc::new(fake.clone()))), fake)
}

/// Takes the place of the socket.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<u8>>>);

#[async_trait]
impl ResponseHandler for Capture {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut bytes = Vec::new();
        let info = response.destructive_emit(&mut BinEncoder::new(&mut bytes))?;
        *self.0.lock().unwrap() = bytes;
        Ok(info)
    }
}

fn client() -> SocketAddr {
    "127.0.0.1:4711".parse().unwrap()
}

async fn send(handler: &Handler, request: Vec<u8>) -> Option<Message> {
    let request = Request::from_bytes(request, client(), Protocol::Udp).ok()?;
    let capture = Capture::default();
    handler.handle_request::<_, TokioTime>(&request, capture.clone()).await;
    let bytes = capture.0.lock().unwrap().clone();
    Some(Message::from_vec(&bytes).unwrap())
}

fn question(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

async fn ask(handler: &Handler, message: &Message) -> Message {
    send(handler, message.to_vec().unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_imported_name_is_answered_without_the_upstream() {
    let (handler, fake) = handler(Err(ResolveError::NoUpstream));
    let response = ask(&handler, &question("server.demo.a.test.", RecordType::A)).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NoError);
    assert_eq!(response.metadata.id, 4711);
    assert!(response.metadata.authoritative && response.metadata.recursion_available);
    assert_eq!(response.answers[0].data, RData::A(A::new(127, 0, 5, 1)));
    assert_eq!(response.answers[0].ttl, crate::ADDRESS_TTL);

    let response = ask(&handler, &question("server.demo.a.test.", RecordType::AAAA)).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NoError, "NODATA, not NXDOMAIN");
    assert!(response.answers.is_empty());
    assert_eq!(response.authorities[0].record_type(), RecordType::SOA);

    let response = ask(&handler, &question("x.server.demo.a.test.", RecordType::A)).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_case_of_a_question_comes_back_in_question_and_answer() {
    let record = Record::from_rdata(name("example.com."), 60, RData::A(A::new(192, 0, 2, 1)));
    let (handler, _) = handler(Ok(Answer::Records(vec![record])));
    for mixed in ["SeRVer.deMO.a.TEsT.", "eXAMple.COM."] {
        let response = ask(&handler, &question(mixed, RecordType::A)).await;
        assert_eq!(response.queries[0].name().to_string(), mixed);
        assert_eq!(response.answers[0].name.to_string(), mixed);
    }
}

#[tokio::test]
async fn other_names_are_forwarded_as_they_were_asked() {
    let record = Record::from_rdata(name("example.com."), 300, RData::A(A::new(192, 0, 2, 1)));
    let (handler, fake) = handler(Ok(Answer::Records(vec![record])));
    let response = ask(&handler, &question("example.com.", RecordType::A)).await;
    assert_eq!((response.answers.len(), response.answers[0].ttl), (1, 300));
    assert!(!response.metadata.authoritative);
    assert_eq!(*fake.asked.lock().unwrap(), ["example.com. A"]);
}

#[tokio::test]
async fn a_negative_answer_is_forgotten_at_once_so_that_the_name_can_be_imported() {
    let (handler, _) = handler(Ok(Answer::NoSuchName(soa())));
    let response = ask(&handler, &question("new.demo.b.test.", RecordType::A)).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!((response.authorities[0].record_type(), response.authorities[0].ttl), (RecordType::SOA, 0));
    handler.zone.set(BTreeMap::from([("new.demo.b.test".parse().unwrap(), Ipv4Addr::new(127, 0, 5, 2))]));
    let response = ask(&handler, &question("new.demo.b.test.", RecordType::A)).await;
    assert_eq!(response.answers[0].data, RData::A(A::new(127, 0, 5, 2)));
}

#[tokio::test]
async fn what_lies_above_an_imported_name_exists_whatever_the_upstream_says() {
    let (handler, _) = handler(Ok(Answer::NoSuchName(soa())));
    for above in ["demo.a.test.", "a.test.", "test."] {
        let response = ask(&handler, &question(above, RecordType::A)).await;
        assert_eq!(response.metadata.response_code, ResponseCode::NoError, "{above}");
        assert!(response.answers.is_empty() && response.authorities[0].ttl == 0);
    }
    assert_eq!(ask(&handler, &question("b.test.", RecordType::A)).await.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_failing_upstream_hurts_only_the_names_that_are_not_imported() {
    let failures = [
        (ResolveError::Failed("broken".into()), ResponseCode::ServFail),
        (ResolveError::Timeout(Duration::from_secs(4)), ResponseCode::ServFail),
        (ResolveError::Busy(512), ResponseCode::ServFail),
        (ResolveError::NoUpstream, ResponseCode::Refused),
    ];
    for (failure, expected) in failures {
        let (handler, _) = handler(Err(failure.clone()));
        let response = ask(&handler, &question("example.com.", RecordType::A)).await;
        assert_eq!(response.metadata.response_code, expected, "{failure}");
        let response = ask(&handler, &question("server.demo.a.test.", RecordType::A)).await;
        assert_eq!(response.answers.len(), 1, "{failure}");
    }
}

/// Never answers, as a name server behind a dead network; says when it was asked.
struct Silent(tokio::sync::Semaphore);

#[async_trait]
impl Resolver for Arc<Silent> {
    async fn resolve(&self, _: Name, _: RecordType) -> Result<Answer, ResolveError> {
        self.0.add_permits(1);
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_silent_upstream_is_given_up_and_does_not_pile_up_work() {
    let silent = Arc::new(Silent(tokio::sync::Semaphore::new(0)));
    let zone = ZoneHandle::new();
    zone.set(BTreeMap::from([("server.demo.a.test".parse().unwrap(), Ipv4Addr::new(127, 0, 5, 1))]));
    let handler = Handler::new(zone, Bounded::with_limits(Arc::new(silent.clone()), 2, Duration::from_secs(1)));
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let handler = handler.clone();
            tokio::spawn(async move { ask(&handler, &question("example.com.", RecordType::A)).await })
        })
        .collect();
    let _both_wait = silent.0.acquire_many(2).await.unwrap();

    let third = ask(&handler, &question("example.com.", RecordType::A)).await;
    assert_eq!(third.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(ask(&handler, &question("server.demo.a.test.", RecordType::A)).await.answers.len(), 1);
    assert!(waiting.iter().all(|response| !response.is_finished()), "neither of them waited for those that wait");
    for response in waiting {
        assert_eq!(response.await.unwrap().metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(silent.0.available_permits(), 0, "the third question never reached the upstream");
}

#[tokio::test]
async fn questions_that_nobody_should_ask_are_refused_with_the_right_code() {
    let (handler, fake) = handler(Ok(Answer::NoData(None)));
    let imported = || question("server.demo.a.test.", RecordType::A);

    let mut chaos = imported();
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut two = imported();
    two.add_query(Query::query(name("example.com."), RecordType::A));
    let mut none = imported();
    none.queries.clear();
    let mut update = imported();
    update.metadata.op_code = OpCode::Update;
    let mut version = imported();
    let mut edns = Edns::new();
    edns.set_version(1);
    version.set_edns(edns);
    let mut not_recursive = question("example.com.", RecordType::A);
    not_recursive.metadata.recursion_desired = false;

    let cases = [
        (chaos, ResponseCode::Refused),
        (two, ResponseCode::FormErr),
        (none, ResponseCode::FormErr),
        (update, ResponseCode::NotImp),
        (version, ResponseCode::BADVERS),
        (not_recursive, ResponseCode::Refused),
        (question("server.demo.a.test.", RecordType::AXFR), ResponseCode::Refused),
    ];
    for (message, expected) in cases {
        let response = ask(&handler, &message).await;
        // By number: BADVERS shares its own with another code (RFC 6891, section 9).
        assert_eq!(u16::from(response.metadata.response_code), u16::from(expected), "{message}");
        assert!(response.answers.is_empty());
    }
    assert!(fake.asked.lock().unwrap().is_empty());

    let mut not_recursive = imported();
    not_recursive.metadata.recursion_desired = false;
    assert_eq!(ask(&handler, &not_recursive).await.answers.len(), 1, "what we know, we say to everyone");
}

#[tokio::test]
async fn edns_is_answered_where_it_is_asked_with_a_payload_that_both_can_take() {
    let (handler, _) = handler(Err(ResolveError::NoUpstream));
    assert!(ask(&handler, &question("server.demo.a.test.", RecordType::A)).await.edns.is_none());
    for (offered, expected) in [(100, 512), (512, 512), (900, 900), (1232, 1232), (4096, 1232)] {
        let mut message = question("server.demo.a.test.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_max_payload(offered).set_dnssec_ok(true);
        message.set_edns(edns);
        let edns = ask(&handler, &message).await.edns.unwrap();
        assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (expected, 0, true), "offered {offered}");
    }
}

proptest! {
    #[test]
    fn arbitrary_packets_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (handler, _) = handler(Ok(Answer::NoSuchName(soa())));
        runtime.block_on(send(&handler, packet));
    }

    /// Bytes changed within a real question reach deeper than arbitrary ones.
    #[test]
    fn damaged_questions_never_panic(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)) {
        let mut packet = question("server.demo.a.test.", RecordType::A);
        packet.set_edns(Edns::new());
        let mut packet = packet.to_vec().unwrap();
        for (position, byte) in changes {
            let position = position.index(packet.len());
            packet[position] = byte;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (handler, _) = handler(Ok(Answer::NoSuchName(soa())));
        runtime.block_on(send(&handler, packet));
    }
}
