//! The wire side of a question: what may be asked, and how the answer is dressed.

use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::op::{Edns, LowerQuery, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, LowerName, Record, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use crate::resolver::{Answer, Bounded, ResolveError};
use crate::zone::{Decision, ZoneHandle};

/// Bytes over UDP that pass every link unfragmented: the value of DNS Flag Day 2020.
const MAX_UDP_PAYLOAD: u16 = 1232;
/// RFC 1035, section 4.2.1; smaller offers count as this one (RFC 6891, section 6.2.5).
const MIN_UDP_PAYLOAD: u16 = 512;

#[derive(Clone)]
pub(crate) struct Handler {
    zone: ZoneHandle,
    upstream: Arc<Bounded>,
}

/// An answer before it is put on the wire.
#[derive(Default)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    soa: Option<Box<Record>>,
}

impl Reply {
    fn refuse(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }

    fn negative(code: ResponseCode, soa: Option<Box<Record>>) -> Self {
        Self { code, soa, ..Self::default() }
    }
}

impl Handler {
    pub(crate) fn new(zone: ZoneHandle, upstream: Bounded) -> Self {
        Self { zone, upstream: Arc::new(upstream) }
    }

    async fn reply(&self, request: &Request) -> Reply {
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Reply::refuse(ResponseCode::BADVERS);
        }
        if request.metadata.op_code != OpCode::Query {
            return Reply::refuse(ResponseCode::NotImp);
        }
        let [query] = request.queries.queries() else {
            return Reply::refuse(ResponseCode::FormErr);
        };
        let is_transfer_or_meta =
            matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::TSIG | RecordType::ZERO);
        if query.query_class() != DNSClass::IN || is_transfer_or_meta {
            return Reply::refuse(ResponseCode::Refused);
        }

        let decision = self.zone.current().decide(query.name(), query.query_type());
        match decision {
            Decision::Records(answers) => Reply { authoritative: true, answers, ..Reply::default() },
            Decision::NoData(soa) => Reply { authoritative: true, soa: Some(soa), ..Reply::default() },
            Decision::NoSuchName(soa) => Reply { code: ResponseCode::NXDomain, authoritative: true, soa: Some(soa), ..Reply::default() },
            // Without a wish for recursion the question is what we know ourselves, and that is nothing.
            Decision::Forward { .. } if !request.metadata.recursion_desired => Reply::refuse(ResponseCode::Refused),
            Decision::Forward { exists } => self.forward(query, exists).await,
        }
    }

    async fn forward(&self, query: &LowerQuery, exists: bool) -> Reply {
        let name = query.original().name().clone();
        match self.upstream.resolve(name, query.query_type()).await {
            Ok(Answer::Records(answers)) => Reply { answers, ..Reply::default() },
            Ok(Answer::NoData(soa)) => Reply::negative(ResponseCode::NoError, forgotten_at_once(soa)),
            Ok(Answer::NoSuchName(soa)) if exists => Reply::negative(ResponseCode::NoError, forgotten_at_once(soa)),
            Ok(Answer::NoSuchName(soa)) => Reply::negative(ResponseCode::NXDomain, forgotten_at_once(soa)),
            Err(error) => {
                tracing::debug!(name = %query.name(), kind = %query.query_type(), %error, "cannot forward a query");
                // A stub resolver with several name servers goes on to the next one after either code.
                let nobody = error == ResolveError::NoUpstream;
                Reply::refuse(if nobody { ResponseCode::Refused } else { ResponseCode::ServFail })
            }
        }
    }
}

/// The name may be imported with the next breath, and a client that remembered its absence would miss that.
fn forgotten_at_once(soa: Option<Box<Record>>) -> Option<Box<Record>> {
    soa.map(|mut soa| {
        soa.ttl = 0;
        soa
    })
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut responses: R) -> ResponseInfo {
        let mut reply = self.reply(request).await;
        if let [query] = request.queries.queries() {
            echo_case(query, &mut reply.answers);
        }
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;

        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            // The payload of our own OPT record is also what bounds the response over UDP.
            edns.set_max_payload(asked.max_payload().clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD));
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let soa = reply.soa.as_deref();
        match responses.send_response(builder.build(metadata, &reply.answers, [], soa, [])).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(client = %request.src(), %error, "cannot send a DNS response");
                ResponseInfo::from(hickory_proto::op::Header { metadata, counts: Default::default() })
            }
        }
    }
}

/// Clients that mix the case of a name as a token (0x20) want it back; matching has ignored it.
fn echo_case(query: &LowerQuery, answers: &mut [Record]) {
    let spelled = query.original().name();
    for record in answers {
        if LowerName::new(&record.name) == *query.name() {
            record.name = spelled.clone();
        }
    }
}

#[cfg(test)]
mod tests;
