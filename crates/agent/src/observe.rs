//! What the admin port tells: readiness and metrics.

use std::sync::{Arc, PoisonError};

use cofide_api::convert::plan as wire;
use cofide_runtime::admin::Metrics;
use cofide_runtime::{Component, Readiness};
use prometheus_client::metrics::gauge::Gauge;

use crate::world::{Link, World};
use crate::xds_service::XdsService;

/// Looks at the world and says what it sees.
pub struct Observer {
    world: Arc<World>,
    xds: Arc<XdsService>,
    manifests: Component,
    plan: Component,
    exported: Gauge,
    imported: Gauge,
    connected: Gauge,
    refused_by_spire: Gauge,
    proxies: Gauge,
    refused_by_proxies: Gauge,
}

impl Observer {
    pub fn new(world: Arc<World>, xds: Arc<XdsService>, readiness: &Readiness, metrics: &Metrics) -> Self {
        let mut registry = metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(format!("cofide_agent_{name}"), help, gauge.clone());
            gauge
        };
        Self {
            world,
            xds,
            manifests: readiness.component("manifests", "the first reading of the manifest folder"),
            plan: readiness.component("plan", "the first plan from Connect"),
            exported: gauge("exported_services", "Services that this cluster offers"),
            imported: gauge("imported_services", "Services that this cluster may use"),
            connected: gauge("connect_connected", "1 while the plan stream to Connect is up"),
            refused_by_spire: gauge("spire_refusals", "Registrations and trust domains that the SPIRE server does not take"),
            proxies: gauge("proxies", "Proxies and SDKs that are connected over xDS"),
            refused_by_proxies: gauge("proxy_rejections", "Resources that connected proxies do not take"),
        }
    }

    pub fn observe(&self) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let plan = self.world.plan.get();
        let exports = self.world.exports.get();
        if exports.is_some() {
            self.manifests.ready();
        }
        if plan.is_known(wire::IMPORTED_SERVICE) {
            self.plan.ready();
        }
        let offered = exports.iter().flat_map(|exports| &exports.exports).filter(|export| export.offer().is_some());
        self.exported.set(count(offered.count()));
        self.imported.set(count(plan.imports().count()));
        self.connected.set(i64::from(*self.world.link.get() == Link::Connected));
        self.refused_by_spire.set(self.world.spire.get().as_ref().as_ref().map_or(0, |spire| count(spire.report.failures().len())));
        let proxies = self.xds.proxies().get();
        self.proxies.set(count(proxies.len()));
        self.refused_by_proxies.set(count(proxies.iter().map(|proxy| proxy.rejected.len()).sum()));
    }
}
