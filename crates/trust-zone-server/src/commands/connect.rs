//! The way to the admin socket.

use anyhow::Context;
use cofide_api::spire::types;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::service_fn;

use crate::args::Connection;

pub(super) async fn channel(connection: &Connection) -> anyhow::Result<Channel> {
    let path = connection.socket.clone();
    // The address is for the HTTP/2 headers only; the connection goes to the socket.
    let endpoint = Endpoint::from_static("http://localhost");
    let connect = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connect).await.map_err(reason).with_context(|| {
        let socket = connection.socket.display();
        format!("cannot reach a server at {socket}; is it running? name its admin socket with --socket, as its own user")
    })
}

/// The innermost error: the ones around it say "transport error".
fn reason(error: tonic::transport::Error) -> anyhow::Error {
    let root = anyhow::Error::from(error);
    let reason = root.chain().last().map(ToString::to_string).unwrap_or_default();
    anyhow::anyhow!(reason)
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub(super) fn explain(status: Status) -> anyhow::Error {
    // What a gRPC server says of a service that it does not have at all.
    if status.code() == Code::Unimplemented && status.message().is_empty() {
        return anyhow::anyhow!(
            "this is not the admin socket, although somebody answers there: the Workload API? Name the server's admin socket with --socket: \
             the admin_socket of its configuration, or else admin.sock in its data folder"
        );
    }
    anyhow::anyhow!(said(status.code(), status.message()))
}

/// The name of a code says nothing to a person that the message does not say better.
fn said(code: Code, message: &str) -> String {
    if message.is_empty() { code.description().to_owned() } else { message.to_owned() }
}

/// The status of one item of a batch.
pub(super) fn check(status: Option<types::Status>) -> anyhow::Result<()> {
    let status = status.unwrap_or_default();
    anyhow::ensure!(status.code == 0, said(Code::from_i32(status.code), &status.message));
    Ok(())
}
