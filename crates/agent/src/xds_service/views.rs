//! What each role sees.
//!
//! A role of which nobody has asked is not rendered: in a mesh that is all of them. And what follows from one import is rendered
//! when that import changes; what all of them are in, such as the listener of sidecars, with each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofide_xds::{Cache, Update};

use crate::desired::{DesiredImport, GatewayPlan};
use crate::render::envoy::{self, Rendered, SidecarSettings, TrustBundles};
use crate::role::Role;

#[derive(Debug)]
pub(super) struct Views {
    sidecar_settings: SidecarSettings,
    bundles: TrustBundles,
    /// One for every role.
    caches: BTreeMap<Role, Arc<Cache>>,
    /// The roles of which somebody has asked.
    asked: Mutex<BTreeSet<Role>>,
    /// Held while caches are brought to what is shown.
    shown: Mutex<Shown>,
}

/// What was published last; absent before the first time.
#[derive(Debug, Default)]
struct Shown {
    exports: Option<GatewayPlan>,
    /// Sorted by hostname; each hostname once.
    imports: Option<Vec<DesiredImport>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Views {
    pub(super) fn new(sidecar_settings: SidecarSettings, bundles: TrustBundles) -> Self {
        let caches = Role::all().iter().map(|role| (*role, Arc::new(Cache::new()))).collect();
        Self { sidecar_settings, bundles, caches, asked: Mutex::default(), shown: Mutex::default() }
    }

    /// The cache of a role of which somebody has asked before.
    pub(super) fn held(&self, role: Role) -> Option<Arc<Cache>> {
        lock(&self.asked).contains(&role).then(|| self.caches[&role].clone())
    }

    /// The cache of a role; renders what is shown, if it is the first time.
    pub(super) fn open(&self, role: Role) -> Arc<Cache> {
        let shown = lock(&self.shown);
        let cache = self.caches[&role].clone();
        if lock(&self.asked).insert(role) {
            let rendered = match role {
                Role::Gateway => shown.exports.as_ref().map(|plan| envoy::gateway(plan, self.bundles)),
                Role::Client | Role::Sidecar | Role::Sdk => shown.imports.as_ref().map(|imports| self.whole(role, imports)),
            };
            if let Some(rendered) = rendered {
                cache.replace_all(rendered);
                cache.mark_ready();
            }
        }
        cache
    }

    pub(super) fn publish_gateway(&self, plan: GatewayPlan) {
        let mut shown = lock(&self.shown);
        if shown.exports.as_ref() == Some(&plan) {
            return;
        }
        if let Some(cache) = self.held(Role::Gateway) {
            cache.replace_all(envoy::gateway(&plan, self.bundles));
            cache.mark_ready();
        }
        shown.exports = Some(plan);
    }

    pub(super) fn publish_imports(&self, imports: Vec<DesiredImport>) {
        let mut shown = lock(&self.shown);
        if shown.imports.as_ref() == Some(&imports) {
            return;
        }
        for role in [Role::Client, Role::Sidecar, Role::Sdk] {
            let Some(cache) = self.held(role) else { continue };
            match &shown.imports {
                Some(before) => drop(cache.apply(self.update(role, before, &imports))),
                None => drop(cache.replace_all(self.whole(role, &imports))),
            }
            cache.mark_ready();
        }
        shown.imports = Some(imports);
    }

    fn whole(&self, role: Role, imports: &[DesiredImport]) -> Rendered {
        let mut rendered = self.of_each(role, imports);
        rendered.extend(self.of_all(role, imports));
        rendered
    }

    /// What follows from single imports.
    fn of_each(&self, role: Role, imports: &[DesiredImport]) -> Rendered {
        match role {
            Role::Client => envoy::client(imports, self.bundles),
            Role::Sidecar => envoy::sidecar_clusters(imports, self.bundles),
            Role::Sdk => envoy::sdk(imports, self.bundles),
            Role::Gateway => Rendered::new(),
        }
    }

    /// What all of them are in.
    fn of_all(&self, role: Role, imports: &[DesiredImport]) -> Rendered {
        match role {
            Role::Sidecar => envoy::sidecar_listeners(imports, &self.sidecar_settings),
            Role::Client | Role::Sdk | Role::Gateway => Rendered::new(),
        }
    }

    /// What leads from the view of some imports to that of others.
    fn update(&self, role: Role, before: &[DesiredImport], after: &[DesiredImport]) -> Update {
        let (gone, come) = (without(before, after), without(after, before));
        let mut set = self.of_each(role, &come);
        let names: BTreeSet<_> = set.iter().map(|(type_url, resource)| (type_url.clone(), resource.name().to_owned())).collect();
        let before = self.of_each(role, &gone).into_iter().map(|(type_url, resource)| (type_url, resource.name().to_owned()));
        let removed = before.filter(|name| !names.contains(name)).collect();
        set.extend(self.of_all(role, after));
        Update { set, removed }
    }
}

/// Those of the first that are not in the second as they are.
fn without(imports: &[DesiredImport], others: &[DesiredImport]) -> Vec<DesiredImport> {
    let others: BTreeMap<_, _> = others.iter().map(|other| (&other.import.hostname, other)).collect();
    imports.iter().filter(|import| others.get(&import.import.hostname) != Some(import)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::GatewayKind;
    use cofide_test_objects::imported_service;
    use cofide_xds::type_url::{CLUSTER, ENDPOINT, LISTENER};
    use proptest::prelude::*;

    fn views() -> Views {
        let settings = SidecarSettings {
            pool: Default::default(),
            resolver: "127.0.0.1:10053".parse().unwrap(),
            fallback_resolvers: Default::default(),
        };
        Views::new(settings, TrustBundles::default())
    }

    /// `None` for one whose gateways have names.
    fn import(number: u8, gateway: Option<u8>, has_address: bool) -> DesiredImport {
        let gateway = gateway.map_or("gateway.test".to_owned(), |last| format!("192.0.2.{last}"));
        let import = imported_service(&format!("s{number}.demo.b.test"), &[(GatewayKind::Ingress, &gateway)]);
        DesiredImport { import, address: has_address.then(|| [127, 64, 0, number + 1].into()) }
    }

    /// Versions by type and name.
    fn content(cache: &Cache) -> BTreeMap<(&'static str, String), String> {
        let of = |type_url| {
            let resources = cache.list(type_url).into_iter();
            resources.map(move |resource| ((type_url, resource.name().to_owned()), resource.version().to_owned()))
        };
        [CLUSTER, ENDPOINT, LISTENER].into_iter().flat_map(of).collect()
    }

    type Worlds = Vec<BTreeMap<u8, (Option<u8>, bool)>>;

    fn worlds() -> impl Strategy<Value = Worlds> {
        let import = (proptest::option::of(1..3u8), any::<bool>());
        proptest::collection::vec(proptest::collection::btree_map(0..4u8, import, 0..4), 1..5)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_view_that_followed_every_change_is_the_one_that_is_rendered_at_once(worlds in worlds()) {
            let followed = views();
            let caches = [Role::Client, Role::Sidecar, Role::Sdk].map(|role| (role, followed.open(role)));
            for world in worlds {
                let imports: Vec<_> = world.iter().map(|(number, (gateway, has_address))| import(*number, *gateway, *has_address)).collect();
                followed.publish_imports(imports.clone());
                let anew = views();
                anew.publish_imports(imports);
                for (role, cache) in &caches {
                    prop_assert_eq!(content(cache), content(&anew.open(*role)), "{:?}", role);
                }
            }
        }
    }

    #[test]
    fn a_role_is_rendered_when_somebody_asks_and_is_not_ready_before_there_is_something_to_show() {
        let views = views();
        assert!(views.held(Role::Sdk).is_none());
        let early = views.open(Role::Client);
        assert!(!early.is_ready());
        views.publish_imports(vec![import(1, Some(1), true)]);
        assert!(early.is_ready() && views.caches[&Role::Sdk].list(CLUSTER).is_empty());
        let late = views.open(Role::Sdk);
        assert!(late.is_ready() && late.list(CLUSTER).len() == 2);
        assert!(!views.open(Role::Gateway).is_ready(), "nothing is known of the exports");
    }
}
