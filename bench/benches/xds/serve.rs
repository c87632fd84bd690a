//! Our server, as a process of its own.

use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use cofide_xds::type_url::ENDPOINT;
use cofide_xds::{Cache, Node, Peer, Router, Server};
use tonic::Status;

use crate::world;

struct OneCache(Arc<Cache>);

#[async_trait::async_trait]
impl Router for OneCache {
    async fn cache_for(&self, _peer: &Peer, _node: &Node, _type_url: &str) -> Result<Arc<Cache>, Status> {
        Ok(self.0.clone())
    }
}

/// `ADDRESS WORLD`. A line `NAME PORT` on standard input moves an endpoint; the end of standard input ends the server.
#[tokio::main]
pub(crate) async fn run(arguments: &[String]) -> anyhow::Result<()> {
    let [address, file] = arguments else { anyhow::bail!("serve ADDRESS WORLD") };
    let address: SocketAddr = address.parse()?;
    let cache = Arc::new(Cache::new());
    cache.replace_all(world::decode(&std::fs::read(file)?)?);
    cache.mark_ready();
    let server = Server::new(OneCache(cache.clone()));
    let serving = tonic::transport::Server::builder().tcp_nodelay(true).add_service(server.aggregated()).serve(address);
    let following = tokio::task::spawn_blocking(move || follow(&cache));
    tokio::select! {
        result = serving => Ok(result?),
        result = following => result?,
    }
}

fn follow(cache: &Cache) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, port) = line.split_once(' ').context("NAME PORT")?;
        cache.set(ENDPOINT, world::endpoint(name, port.parse()?));
    }
    Ok(())
}
