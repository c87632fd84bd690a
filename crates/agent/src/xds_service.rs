//! Who sees what over the agent's xDS, and what the proxies said to it.
//!
//! Everybody on the address may connect: what is served here is where services are, and no secret. A client says with
//! its node's cluster what it is for, and with this [`Role`] chooses its view.
//!
//! A view is served when it has been published for the first time; until then its clients wait. How it is made is in [`views`].

mod views;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofide_core::{Agent, one_line};
use cofide_xds::{Cache, Client, Limits, Node, Outcome, Peer, Receipt, Rejection, Router, Server};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::desired::{DesiredImport, GatewayPlan};
use crate::published::Published;
use crate::render::envoy::{self, SidecarSettings, TrustBundles};
use crate::role::Role;
use views::Views;

/// How long a proxy that does not acknowledge clusters holds up the listeners that use them.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// A proxy or SDK that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub role: Role,
    pub node_id: String,
    /// What it refused, and has not since accepted in another version: the reason in its words, by type URL and name.
    pub rejected: BTreeMap<(String, String), String>,
}

/// The views, and the connected proxies.
#[derive(Debug)]
pub struct XdsService {
    views: Arc<Views>,
    /// By stream.
    connected: Mutex<BTreeMap<u64, Proxy>>,
    proxies: Published<Vec<Proxy>>,
}

impl XdsService {
    pub fn new(sidecar_settings: SidecarSettings) -> Arc<Self> {
        Self::with_bundles(sidecar_settings, TrustBundles::default())
    }

    /// For proxies that get their trust bundles under this name.
    pub fn with_bundles(sidecar_settings: SidecarSettings, bundles: TrustBundles) -> Arc<Self> {
        let views = Arc::new(Views::new(sidecar_settings, bundles));
        Arc::new(Self { views, connected: Mutex::default(), proxies: Published::default() })
    }

    /// The gRPC services. `shutdown` ends their streams.
    pub fn server(self: &Arc<Self>, shutdown: CancellationToken) -> Server<Self> {
        Server::with(self.clone(), shutdown, Limits::default(), ACK_WAIT)
    }

    /// Shows gateways this plan. What did not change is not sent.
    pub fn publish_gateway(&self, plan: GatewayPlan) {
        self.views.publish_gateway(plan);
    }

    /// Shows clients these imports, sorted by hostname and each once. What did not change is not sent.
    pub fn publish_imports(&self, imports: Vec<DesiredImport>) {
        self.views.publish_imports(imports);
    }

    /// The connected proxies, in the order in which they came.
    pub fn proxies(&self) -> &Published<Vec<Proxy>> {
        &self.proxies
    }

    fn update(&self, change: impl FnOnce(&mut BTreeMap<u64, Proxy>)) {
        let mut connected: MutexGuard<'_, _> = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut connected);
        self.proxies.set(connected.values().cloned().collect());
    }
}

#[async_trait::async_trait]
impl Router for XdsService {
    async fn cache_for(&self, _peer: &Peer, node: &Node, _type_url: &str) -> Result<Arc<Cache>, Status> {
        let role = Role::of(&node.cluster);
        if let Some(cache) = self.views.held(role) {
            return Ok(cache);
        }
        // Ten thousand imports take their time, in which no stream is to wait.
        let views = self.views.clone();
        tokio::task::spawn_blocking(move || views.open(role)).await.map_err(|error| Status::internal(error.to_string()))
    }

    async fn on_subscribe(&self, client: &Arc<Client>, _type_url: &str) {
        self.update(|connected| {
            connected.entry(client.stream).or_insert_with(|| {
                let role = Role::of(&client.node.cluster);
                tracing::info!(node = client.node.id, ?role, "proxy connected");
                Proxy { role, node_id: client.node.id.clone(), rejected: BTreeMap::new() }
            });
        });
    }

    async fn on_receipt(&self, receipt: Receipt) {
        if let Outcome::Rejected(rejection) = &receipt.outcome {
            let Node { id, cluster, .. } = &receipt.client.node;
            tracing::warn!(
                node = id,
                node_cluster = cluster,
                type_url = receipt.type_url,
                reason = rejection.message,
                "proxy refused resources"
            );
            let names: Vec<_> = receipt.resources.iter().map(|(name, _)| name.as_str()).collect();
            for TakenPort { listener, address } in taken_ports(&rejection.message, &names) {
                tracing::warn!(
                    node = id,
                    listener,
                    hostname = envoy::hostname_of_listener(listener),
                    address,
                    "another process has the port of this listener, and the Envoy may not try again: end the other process, or give each \
                     agent of this host import_addresses and a gateway_listen_address of its own, and start the Envoy anew"
                );
            }
        }
        self.update(|connected| {
            let Some(proxy) = connected.get_mut(&receipt.client.stream) else { return };
            let key = |name: &str| (receipt.type_url.clone(), name.to_owned());
            for name in &receipt.removed {
                proxy.rejected.remove(&key(name));
            }
            for (name, _) in &receipt.resources {
                match refusal(&receipt, name) {
                    None => proxy.rejected.remove(&key(name)),
                    Some(reason) => proxy.rejected.insert(key(name), one_line(reason, Agent::LONGEST_WORDS)),
                };
            }
        });
    }

    async fn on_closed(&self, client: &Arc<Client>) {
        self.update(|connected| {
            if let Some(proxy) = connected.remove(&client.stream) {
                tracing::info!(node = proxy.node_id, role = ?proxy.role, "proxy disconnected");
            }
        });
    }
}

/// Why a resource of the response was refused.
///
/// Envoy's NACK is one text for the whole response, though it applies the resources that are good. The text names the bad
/// ones; where it names none, all of them are suspect.
fn refusal<'a>(receipt: &'a Receipt, name: &str) -> Option<&'a str> {
    match &receipt.outcome {
        Outcome::Rejected(Rejection { message, resources }) if resources.is_empty() => {
            let blames_some = receipt.resources.iter().any(|(name, _)| mentions(message, name));
            (!blames_some || mentions(message, name)).then_some(message)
        }
        _ => receipt.outcome_of(name).err(),
    }
}

/// A listener that an Envoy could not bind.
#[derive(Debug, PartialEq, Eq)]
struct TakenPort<'a> {
    listener: &'a str,
    /// As `ip:port`.
    address: &'a str,
}

/// Which of these listeners have no port, from Envoy's words: `<listener>: cannot bind '<ip>:<port>': Address already in use`.
fn taken_ports<'a>(message: &'a str, names: &[&'a str]) -> Vec<TakenPort<'a>> {
    let taken = |(at, refused): (usize, &str)| {
        let (address, reason) = message[at + refused.len()..].split_once('\'')?;
        let listener = names.iter().filter(|name| message[..at].ends_with(**name)).max_by_key(|name| name.len())?;
        reason.starts_with(": Address already in use").then_some(TakenPort { listener, address })
    };
    message.match_indices(": cannot bind '").filter_map(taken).collect()
}

/// Whether a text holds a name as a whole and not as a part of a longer one.
fn mentions(text: &str, name: &str) -> bool {
    let is_part_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.match_indices(name).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + name.len()..]);
        !before.ends_with(|c| is_part_of_a_name(c) || c == '.') && !after.starts_with(is_part_of_a_name)
    })
}

#[cfg(test)]
mod tests;
