//! The plan as the agent holds it: what Connect said last, with the versions to resume from.
//!
//! It is written to disk before it is acted on, so what a restarted agent serves is never older than what it served
//! before. Per type of resource the plan says whether it is known at all ([`Plan::is_known`]): until Connect has told
//! everything of a type once, what is missing is not known to be absent, and nothing may be taken down for its sake.

mod store;

use std::collections::{BTreeMap, BTreeSet};

use cofide_api::convert::plan as wire;
use cofide_connect_client::{PlanChanges, ReceivedPlanResource};
use cofide_core::{ControlPlaneTrust, ExportTarget, FederatedServiceId, FederatedTrust, ImportedService, WorkloadRegistration};
use cofide_plan::PlanResource;

pub use store::{PlanStore, StoredPlan};

/// Type URL and name of a resource.
pub type ResourceName = (&'static str, String);

/// One resource with the version under which Connect sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub version: String,
    pub resource: PlanResource,
    pub told: Told,
}

/// What Connect has been told of the version that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or that it is not in effect. It is not named when the stream resumes, so that it comes again and gets its receipt.
    Nothing,
    /// That it is held, by an agent that does not put it in effect. Only such a one names it when the stream resumes.
    Held,
    /// That it is in effect.
    InEffect,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Counts the changes within this process, for whoever reports on one of them.
    pub revision: u64,
    resources: BTreeMap<ResourceName, Held>,
    known: BTreeSet<&'static str>,
    /// What the present stream has not spoken of although Connect was not told at its beginning that it is held: see
    /// [`Plan::begin_stream`].
    unconfirmed: BTreeSet<ResourceName>,
}

/// Whether a stream that stands by for some types resumes with it.
fn is_named((type_url, _): &ResourceName, held: &Held, standby: &[&str]) -> bool {
    match held.told {
        Told::Nothing => false,
        Told::Held => standby.contains(type_url),
        Told::InEffect => true,
    }
}

impl Plan {
    /// A stream has begun, with [`Plan::versions`] as what is held. Of what is not among these, Connect cannot say that it
    /// is gone; so whatever of it is not sent until a type is told completely is gone.
    pub fn begin_stream(&mut self, standby: &[&str]) {
        let unnamed = self.resources.iter().filter(|(name, held)| !is_named(name, held, standby));
        self.unconfirmed = unnamed.map(|(name, _)| name.clone()).collect();
    }

    /// From now on another agent puts these types in effect. What this one said of them is worth nothing when its turn comes again.
    pub fn stand_by(&mut self, standby: &[&str]) {
        for ((type_url, _), held) in &mut self.resources {
            if held.told == Told::InEffect && standby.contains(type_url) {
                held.told = Told::Held;
            }
        }
    }

    /// Takes in an answer. Answers whether that changed anything but versions; only then the revision grows.
    pub fn apply(&mut self, changes: &PlanChanges) -> bool {
        let PlanChanges { type_url, set, removed, completes, receipt: _ } = changes;
        let (type_url, completes) = (*type_url, *completes);
        let mut changed = completes && self.known.insert(type_url);
        for name in removed {
            changed |= self.resources.remove(&(type_url, name.clone())).is_some();
        }
        for ReceivedPlanResource { name, version, resource } in set {
            let name = (type_url, name.clone());
            self.unconfirmed.remove(&name);
            let now = Held { version: version.clone(), resource: resource.clone(), told: Told::Nothing };
            let held = self.resources.insert(name, now);
            changed |= held.is_none_or(|held| held.resource != *resource);
        }
        if completes {
            let (gone, others): (BTreeSet<_>, _) = std::mem::take(&mut self.unconfirmed).into_iter().partition(|(of, _)| *of == type_url);
            self.unconfirmed = others;
            for name in gone {
                changed |= self.resources.remove(&name).is_some();
            }
        }
        self.revision += u64::from(changed);
        changed
    }

    /// Notes what Connect has been told about these.
    pub fn acknowledge<'a>(&mut self, type_url: &'static str, told: Told, versions: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (name, version) in versions {
            if let Some(held) = self.resources.get_mut(&(type_url, name.to_owned()))
                && held.version == version
            {
                held.told = told;
            }
        }
    }

    /// What to resume with: version by name, by type URL. Of the types in `standby`, also what is merely held.
    pub fn versions(&self, standby: &[&str]) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut versions: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for ((type_url, name), held) in self.resources.iter().filter(|(name, held)| is_named(name, held, standby)) {
            versions.entry((*type_url).to_owned()).or_default().insert(name.clone(), held.version.clone());
        }
        versions
    }

    /// The resources of which Connect was told nothing, or that they are not in effect.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &ResourceName> {
        self.resources.iter().filter(|(_, held)| held.told == Told::Nothing).map(|(name, _)| name)
    }

    /// Takes what Connect was told of one for said no more.
    pub fn forget(&mut self, type_url: &'static str, name: &str) {
        if let Some(held) = self.resources.get_mut(&(type_url, name.to_owned())) {
            held.told = Told::Nothing;
        }
    }

    /// What Connect has been told of one; `None` of what is not held.
    pub fn told(&self, name: &ResourceName) -> Option<Told> {
        self.resources.get(name).map(|held| held.told)
    }

    /// Whether everything of the type has been told once, be it by an earlier process.
    pub fn is_known(&self, type_url: &str) -> bool {
        self.known.contains(type_url)
    }

    /// In the order of their names. What they cost follows from how many there are of the type, not of all.
    fn of_type(&self, type_url: &'static str) -> impl Iterator<Item = &PlanResource> {
        let from_here = self.resources.range((type_url, String::new())..);
        from_here.take_while(move |((of, _), _)| *of == type_url).map(|(_, held)| &held.resource)
    }

    pub fn imports(&self) -> impl Iterator<Item = &ImportedService> {
        self.of_type(wire::IMPORTED_SERVICE).filter_map(|resource| if let PlanResource::Import(it) = resource { Some(it) } else { None })
    }

    pub fn trust(&self) -> impl Iterator<Item = &FederatedTrust> {
        self.of_type(wire::FEDERATED_TRUST).filter_map(|resource| if let PlanResource::Trust(it) = resource { Some(it) } else { None })
    }

    pub fn registrations(&self) -> impl Iterator<Item = &WorkloadRegistration> {
        let registrations = self.of_type(wire::WORKLOAD_REGISTRATION);
        registrations.filter_map(|resource| if let PlanResource::Registration(it) = resource { Some(it) } else { None })
    }

    /// What became of each trust domain to which a service is exported; `None` until Connect has said so.
    pub fn targets(&self, service: &FederatedServiceId) -> Option<&[ExportTarget]> {
        match &self.resources.get(&(wire::EXPORTED_SERVICE, service.to_string()))?.resource {
            PlanResource::Export(export) => Some(&export.targets),
            _ => None,
        }
    }

    pub fn control_plane_trust(&self) -> Option<&ControlPlaneTrust> {
        let mut trust = self.of_type(wire::CONTROL_PLANE_TRUST);
        trust.find_map(|resource| if let PlanResource::ControlPlaneTrust(it) = resource { Some(it) } else { None })
    }
}
