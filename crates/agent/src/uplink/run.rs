//! From a join token to an agent that follows its plan, in reading order.

use std::sync::Arc;
use std::time::Duration;

use cofide_connect_client::{Node, connect_as_agent};
use cofide_svid::{BundleSet, IdentitySlot, IdentitySource};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::cluster_state::{ClusterState, Succession};
use crate::config::Settings;
use crate::identity::{self, OwnIdentity, Received};
use crate::leader::Leadership;
use crate::own_cluster::OwnCluster;
use crate::published::Wake;
use crate::reconciler::{self, Pace};
use crate::spawner::{RETRY, Spawner};
use crate::spire::SpireClient;
use crate::state::DataFolder;
use crate::uplink::agent_status::StatusPush;
use crate::uplink::bundle::BundlePush;
use crate::uplink::connect::Connect;
use crate::uplink::follow::Follower;
use crate::uplink::held_bundles::HeldBundlesPush;
use crate::uplink::join::Join;
use crate::uplink::membership::Membership;
use crate::uplink::own_bundle::OwnBundle;
use crate::uplink::registrar::{Memory, Registrar};
use crate::world::{Link, World};

/// How often Connect hears that the agent is alive, and what the SPIRE server holds.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);
const STATUS_PAUSE: Duration = Duration::from_secs(1);
/// For the last word of an agent that stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everything between the agent and Connect.
pub(crate) struct Uplink {
    pub settings: Settings,
    pub data: Arc<DataFolder>,
    pub membership: Arc<Mutex<Membership>>,
    pub own_bundle: OwnBundle,
    /// Filled here.
    pub identity: Arc<IdentitySlot>,
    pub observer_wake: Wake,
    pub world: Arc<World>,
    pub leadership: Leadership,
    /// Absent on a host.
    pub cluster_state: Option<Arc<ClusterState>>,
    pub has_mesh: bool,
    pub spawn: Spawner,
}

impl Uplink {
    /// Returns when the agent stops.
    pub(crate) async fn run(self) {
        let shutdown = self.spawn.shutdown.clone();
        let cluster = self.membership.lock().await.cluster.clone();
        let (bundle_wake, identity_wake) = (Wake::default(), Wake::default());
        self.keep_identity(&cluster, vec![bundle_wake.clone(), identity_wake.clone(), self.observer_wake.clone()]);
        self.join(&identity_wake, shutdown.child_token()).await;
        self.world.link.set(Link::Disconnected("no identity from the SPIFFE Workload API yet".to_owned()));
        let identified = async {
            while self.identity.identity().is_none() {
                identity_wake.woken().await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = identified => {}
        }

        // The way to Connect, which follows both sides' rotations.
        let held = self.membership.lock().await.clone();
        let bundles = Arc::new(BundleSet::from_iter([held.connect.bundle.clone()]));
        let channel = connect_as_agent(&held.connect_url, held.connect.spiffe_id.clone(), bundles.clone(), self.identity.clone());
        let connect = Connect::new(channel.clone());
        self.world.link.set(Link::Disconnected("connecting".to_owned()));

        self.push_bundle(&cluster, &connect, bundle_wake);
        self.register_services(&cluster, &connect);
        self.keep_state();
        if let OwnBundle::SpireServer(server) | OwnBundle::Either(server, _) = &self.own_bundle {
            self.report_held_bundles(server.clone(), &connect);
        }
        let status = self.report_status(connect);

        let node = Node {
            id: cluster.agent_identity().spiffe_id().to_string(),
            cluster: cluster.cluster_name.to_string(),
            user_agent_name: "cofide-agent".to_owned(),
            ..Node::default()
        };
        let on_control_plane = {
            let (data, membership) = (self.data.clone(), self.membership);
            move |trust: &cofide_core::ControlPlaneTrust| {
                bundles.set(trust.bundle.clone());
                // Held only while joining, which is over.
                if let Ok(mut membership) = membership.try_lock()
                    && let Err(error) = membership.follow(trust, &data)
                {
                    tracing::error!(%error, "cannot keep Connect's new authorities");
                }
            }
        };
        let Self { data, world, leadership, has_mesh, .. } = self;
        let follower = Follower { channel, node, data, world, leadership, has_mesh, on_control_plane: Box::new(on_control_plane) };
        follower.run(shutdown).await;
        // So that nobody has to wait for the sign of life to be missed. In a cluster, another agent is there or comes.
        if self.cluster_state.is_none() {
            let _ = tokio::time::timeout(FAREWELL, status.stopped()).await;
        }
    }

    /// The agent's own identity, from the zone's server.
    fn keep_identity(&self, cluster: &OwnCluster, changed: Vec<Wake>) {
        self.spawn.tasks.spawn(identity::keep_fresh(
            self.settings.spiffe_endpoint_socket.clone(),
            OwnIdentity(cluster.agent_identity()),
            Received { identity: self.identity.clone(), world: self.world.clone() },
            changed,
            self.spawn.shutdown.clone(),
        ));
    }

    /// Membership, once: returns when there is one, or at `joining`'s end.
    async fn join(&self, wake: &Wake, joining: CancellationToken) {
        let join = Join {
            settings: self.settings.join.clone(),
            membership: self.membership.clone(),
            data: self.data.clone(),
            own_bundle: self.own_bundle.clone(),
            identity: self.identity.clone(),
        };
        reconciler::run("join", self.spawn.pace(), wake.clone(), joining.clone(), || async {
            let outcome = join.attempt().await;
            if outcome.is_ok() {
                joining.cancel();
            }
            outcome
        })
        .await;
    }

    fn push_bundle(&self, cluster: &OwnCluster, connect: &Connect, wake: Wake) {
        self.world.link.wakes(&wake);
        let push = BundlePush::new(cluster.clone(), self.own_bundle.clone(), connect.clone(), self.world.clone());
        let push = Arc::new(push);
        self.spawn.as_leader("bundle", wake, &self.leadership, move || {
            let push = push.clone();
            async move { push.reconcile().await }
        });
    }

    fn register_services(&self, cluster: &OwnCluster, connect: &Connect) {
        let memory = if self.cluster_state.is_some() { Memory::Ids } else { Memory::Kept(self.data.clone()) };
        let relist = self.settings.resync;
        let registrar = match Registrar::open(cluster.clone(), connect.clone(), memory, self.world.clone(), relist) {
            Ok(registrar) => Arc::new(registrar),
            // To register without knowing what is registered would leave orphans.
            Err(error) => {
                tracing::error!(%error, "no service is registered until the data folder can be read; correct that and start again");
                return;
            }
        };
        let wake = Wake::default();
        self.world.exports.wakes(&wake);
        self.world.link.wakes(&wake);
        let succession = Succession::new(self.cluster_state.clone(), self.leadership.clone());
        self.spawn.as_leader("registrations", wake, &self.leadership, move || {
            let (registrar, succession) = (registrar.clone(), succession.clone());
            async move {
                succession.enter(|| registrar.recall()).await?;
                anyhow::Ok(registrar.reconcile().await?)
            }
        });
    }

    /// In a cluster, what must outlive a pod.
    fn keep_state(&self) {
        let Some(state) = self.cluster_state.clone() else { return };
        let wake = Wake::default();
        self.world.exports.wakes(&wake);
        self.world.plan.wakes(&wake);
        self.world.spire.wakes(&wake);
        let leading = self.leadership.clone();
        self.spawn.as_leader("state", wake, &self.leadership, move || {
            let (state, leading) = (state.clone(), leading.clone());
            async move { state.keep(leading.term()).await }
        });
    }

    fn report_held_bundles(&self, server: SpireClient, connect: &Connect) {
        let wake = Wake::default();
        self.world.spire.wakes(&wake);
        self.world.link.wakes(&wake);
        let pace = Pace { interval: STATUS_INTERVAL, retry: RETRY };
        let push = Arc::new(HeldBundlesPush::new(server, connect.clone()));
        self.spawn.as_leader_at("held bundles", pace, wake, &self.leadership, move || {
            let push = push.clone();
            async move { push.reconcile().await }
        });
    }

    /// A sign of life, and what is not as it should be.
    fn report_status(&self, connect: Connect) -> Arc<StatusPush> {
        let wake = Wake::default();
        self.world.link.wakes(&wake);
        self.world.unmet_conditions.wakes(&wake);
        self.leadership.wakes(&wake);
        let pace = Pace { interval: STATUS_INTERVAL, retry: STATUS_INTERVAL };
        let status = Arc::new(StatusPush::new(connect, self.world.clone()));
        let (push, leading) = (status.clone(), self.leadership.clone());
        self.spawn.tasks.spawn(reconciler::run("agent status", pace, wake, self.spawn.shutdown.clone(), move || {
            let (push, leading) = (push.clone(), leading.clone());
            async move {
                let pushed = leading.fenced(push.reconcile()).await.unwrap_or(Ok(()));
                // A service that comes and goes is not told each time: changes have an allowance.
                tokio::time::sleep(STATUS_PAUSE).await;
                pushed
            }
        }));
        status
    }
}
