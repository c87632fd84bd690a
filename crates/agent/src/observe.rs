//! What the admin port tells: readiness and metrics.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use cofide_api::convert::plan as wire;
use cofide_runtime::admin::Metrics;
use cofide_runtime::{Component, Readiness};
use cofide_svid::{IdentitySlot, IdentitySource, display_time};
use prometheus_client::metrics::gauge::Gauge;

use crate::leader::Leadership;
use crate::world::{Link, World};
use crate::xds_service::XdsService;

/// Looks at the world and says what it sees.
pub struct Observer {
    world: Arc<World>,
    xds: Arc<XdsService>,
    own: Arc<IdentitySlot>,
    identity: Component,
    objects: Component,
    /// Absent where there is one agent only.
    leader: Option<(Gauge, Leadership)>,
    plan: Component,
    exported: Gauge,
    imported: Gauge,
    connected: Gauge,
    refused_by_spire: Gauge,
    mesh_findings: Gauge,
    proxies: Gauge,
    refused_by_proxies: Gauge,
}

impl Observer {
    /// `leadership` is that of an agent of a Kubernetes cluster.
    pub fn new(
        world: Arc<World>,
        xds: Arc<XdsService>,
        own: Arc<IdentitySlot>,
        leadership: Option<Leadership>,
        readiness: &Readiness,
        metrics: &Metrics,
    ) -> Self {
        let mut registry = metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(format!("cofide_agent_{name}"), help, gauge.clone());
            gauge
        };
        Self {
            world,
            xds,
            own,
            identity: readiness.component("identity", NO_IDENTITY),
            objects: match leadership {
                None => readiness.component("manifests", "the first reading of the manifest folder"),
                Some(_) => readiness.component(
                    "objects",
                    "the first complete lists of FederatedServices, Services and EndpointSlices; see the log for one that cannot be had",
                ),
            },
            leader: leadership.map(|leadership| (gauge("leader", "1 while this agent is the one of its cluster that writes"), leadership)),
            plan: readiness.component("plan", "the first plan from Connect"),
            exported: gauge("exported_services", "Services that this cluster offers"),
            imported: gauge("imported_services", "Services that this cluster may use"),
            connected: gauge("connect_connected", "1 while the plan stream to Connect is up"),
            refused_by_spire: gauge("spire_refusals", "Registrations and trust domains that the SPIRE server does not take"),
            mesh_findings: gauge("mesh_findings", "Settings of the mesh that are not as they have to be"),
            proxies: gauge("proxies", "Proxies and SDKs that are connected over xDS"),
            refused_by_proxies: gauge("proxy_rejections", "Resources that connected proxies do not take"),
        }
    }

    pub fn observe(&self) {
        self.observe_identity(SystemTime::now());
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let plan = self.world.plan.get();
        let exports = self.world.exports.get();
        if exports.is_some() {
            self.objects.ready();
        }
        if plan.is_known(wire::IMPORTED_SERVICE) {
            self.plan.ready();
        }
        let offered = exports.iter().flat_map(|exports| &exports.exports).filter(|export| export.offer().is_some());
        self.exported.set(count(offered.count()));
        self.imported.set(count(plan.imports().count()));
        if let Some((gauge, leadership)) = &self.leader {
            gauge.set(i64::from(leadership.is_leader()));
        }
        self.connected.set(i64::from(*self.world.link.get() == Link::Connected));
        self.refused_by_spire.set(self.world.spire.get().as_ref().as_ref().map_or(0, |spire| count(spire.report.failures().len())));
        self.mesh_findings.set(self.world.mesh_findings.get().as_ref().as_ref().map_or(0, |findings| count(findings.wrong().count())));
        let proxies = self.xds.proxies().get();
        self.proxies.set(count(proxies.len()));
        self.refused_by_proxies.set(count(proxies.iter().map(|proxy| proxy.rejected.len()).sum()));
    }

    /// The agent cannot look into the Envoys, whose identities come from the same Workload API as its own: that the API
    /// gives this process a current SVID is what it can know of them.
    fn observe_identity(&self, now: SystemTime) {
        match self.own.identity() {
            Some(svid) if svid.not_after > now => self.identity.ready(),
            Some(svid) => self.identity.waiting(&format!(
                "a new X.509-SVID from the SPIFFE Workload API: the last one, {}, ended at {}; check that the trust zone's server runs",
                svid.spiffe_id,
                display_time(svid.not_after)
            )),
            None => self.identity.waiting(NO_IDENTITY),
        }
    }
}

const NO_IDENTITY: &str = "an X.509-SVID from the SPIFFE Workload API; check spiffe_endpoint_socket, and that the trust zone's server has an \
                           entry whose selectors match this process";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::envoy::SidecarSettings;
    use cofide_core::{SpiffeId, TrustDomain};
    use cofide_svid::authority::{X509CertificateAuthority, X509Settings};
    use std::time::Duration;

    #[test]
    fn an_agent_whose_identity_has_ended_is_not_ready_and_says_when_it_ended() {
        let now = SystemTime::now();
        let authority = X509CertificateAuthority::create(TrustDomain::new("a.test").unwrap(), X509Settings::default(), now).unwrap();
        let id = SpiffeId::new("spiffe://a.test/ns/cofide/sa/cofide-agent").unwrap();
        let svid = authority.issue(&id, &[], &[], Duration::from_secs(60), now).unwrap();
        let (own, readiness) = (Arc::new(IdentitySlot::default()), Readiness::default());
        let xds = XdsService::new(SidecarSettings {
            pool: crate::addresses::LoopbackPool::default(),
            resolver: "127.0.0.1:53".parse().unwrap(),
            fallback_resolvers: std::collections::BTreeSet::new(),
        });
        let observer = Observer::new(Arc::default(), xds, own.clone(), None, &readiness, &Metrics::default());
        let waiting = |now| {
            observer.observe_identity(now);
            readiness.waiting().get("identity").cloned()
        };

        assert!(waiting(now).unwrap().contains("spiffe_endpoint_socket"));
        own.set(svid);
        assert_eq!(waiting(now), None);
        let ended = waiting(now + Duration::from_secs(61)).unwrap();
        assert!(ended.contains(id.to_string().as_str()) && ended.contains("ended at 20"), "{ended}");
        own.clear();
        assert!(waiting(now).is_some(), "an identity that was taken back is none");
    }
}
