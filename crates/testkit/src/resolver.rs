//! What a resolver answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

/// A resolver that says nothing for this long says nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses that it gives for a name; none where it does not answer.
pub(crate) async fn ask(resolver: SocketAddr, hostname: &str) -> Vec<Ipv4Addr> {
    let ask = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(resolver).await?;
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(format!("{hostname}."))?, RecordType::A));
        socket.send(&query.to_vec()?).await?;
        let mut answer = [0; 1232];
        let length = socket.recv(&mut answer).await?;
        anyhow::Ok(Message::from_vec(&answer[..length])?)
    };
    let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, ask).await else { return Vec::new() };
    answer.answers.iter().filter_map(|record| if let RData::A(a) = &record.data { Some(a.0) } else { None }).collect()
}
