//! Answers pings, and says to whom.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use cofide_ping_pong::peers::{Peer, spiffe_id_of};
use cofide_ping_pong::{Mode, workload_identity};
use spiffe::X509Source;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers pings over mutual TLS with its own SVID, or in plain text.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  ping-pong-server --mode mtls --listen 127.0.0.1:9443 --admit b.demo.test\n  ping-pong-server --mode plain --listen 127.0.0.1:9080 --name plain-server"
)]
struct Arguments {
    #[arg(long, value_enum)]
    mode: Mode,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Whom to admit in mode mtls: a trust domain or a SPIFFE ID; repeatable
    #[arg(long, value_name = "PEER", required_if_eq("mode", "mtls"))]
    admit: Vec<Peer>,
    /// What to call itself in mode plain
    #[arg(long, default_value = "a plain-text server")]
    name: String,
    /// Speak first, as database and mail servers do
    #[arg(long)]
    greet: bool,
    /// The Workload API, as unix:PATH
    #[arg(long, value_name = "ENDPOINT", env = "SPIFFE_ENDPOINT_SOCKET")]
    workload_api: Option<String>,
    /// Milliseconds to wait for the first identity
    #[arg(long, default_value_t = 60_000, value_name = "MILLISECONDS")]
    identity_timeout: u64,
}

#[allow(clippy::print_stdout, reason = "what the example prints is its purpose")]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arc::new(Arguments::parse());
    let identity = match arguments.mode {
        Mode::Mtls => Some(workload_identity(arguments.workload_api.as_deref(), Duration::from_millis(arguments.identity_timeout)).await?),
        Mode::Plain => None,
    };
    let acceptor = identity.clone().map(|source| acceptor(source, arguments.admit.clone())).transpose()?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}; choose another --listen", arguments.listen))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, from) = listener.accept().await?;
        let (arguments, acceptor, identity) = (arguments.clone(), acceptor.clone(), identity.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let result = match (acceptor, identity) {
                (Some(acceptor), Some(identity)) => match acceptor.accept(stream).await {
                    Ok(tls) => {
                        let peer =
                            spiffe_id_of(tls.get_ref().1.peer_certificates()).map_or_else(|| "nobody".to_owned(), |id| id.to_string());
                        answer(tls, &arguments, &peer, || own_name(&identity)).await
                    }
                    Err(error) => Err(error),
                },
                _ => answer(stream, &arguments, &from.to_string(), || arguments.name.clone()).await,
            };
            if let Err(error) = result {
                println!("refused {from}: {error}");
            }
        });
    }
}

fn acceptor(source: X509Source, admitted: Vec<Peer>) -> anyhow::Result<TlsAcceptor> {
    let admit = move |id: &spiffe::SpiffeId| admitted.iter().any(|peer| peer.admits(id));
    Ok(TlsAcceptor::from(Arc::new(spiffe_rustls::mtls_server(source).authorize(admit).build()?)))
}

fn own_name(identity: &X509Source) -> String {
    identity.try_svid().map_or_else(|| "a server without identity".to_owned(), |svid| svid.spiffe_id().to_string())
}

#[allow(clippy::print_stdout, reason = "what the example prints is its purpose")]
async fn answer<S>(stream: S, arguments: &Arguments, peer: &str, name: impl Fn() -> String) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, mut writer) = tokio::io::split(stream);
    if arguments.greet {
        writer.write_all(b"hello\n").await?;
        writer.flush().await?;
    }
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        if line != "ping" {
            continue;
        }
        println!("ping from {peer}");
        writer.write_all(format!("...pong from {}\n", name()).as_bytes()).await?;
        writer.flush().await?;
    }
    Ok(())
}
