//! Objects for spire-controller-manager: what a SPIRE server should hold, by way of the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofide_core::TrustDomain;
use kube::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::decide::Objects;
use super::live::{Live, Ours};
use super::mirror::Presence;
use super::writer::{Writer, Written};
use crate::published::Wake;
use crate::render::object::ObjectName;
use crate::render::spire::{BINDING, FEDERATION, Owner, SpireObject, SpireSettings, WAVES, federations, identities};
use crate::spire::access::Availability;
use crate::spire::executor::first_report;
use crate::spire::model::Desired;
use crate::spire::{Outcome, Report, told};

/// Keeps the objects.
pub struct SpireObjects {
    own: TrustDomain,
    settings: SpireSettings,
    writer: Writer,
}

impl std::fmt::Debug for SpireObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpireObjects({}, {:?})", self.own, self.settings)
    }
}

impl SpireObjects {
    /// Begins to watch, for the trust domain `own`. `wake` is called when an object has changed.
    pub fn start(
        client: Client,
        own: TrustDomain,
        settings: SpireSettings,
        wake: &Wake,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let writer = Writer::start(client, &WAVES, &cofide_k8s_api::spire::kinds(), wake, tasks, shutdown);
        Self { own, settings, writer }
    }

    /// All three kinds come with one installation, so one that is missing is one that is not there yet.
    pub fn availability(&self) -> Availability {
        let mut refused = None;
        let mut is_unknown = false;
        for mirror in self.writer.mirrors() {
            match mirror.presence() {
                Presence::Absent => return Availability::Absent,
                Presence::Unknown => is_unknown = true,
                Presence::Refused(reason) => refused = Some(reason),
                Presence::Listed(_) => {}
            }
        }
        match refused {
            Some(reason) => Availability::Refused(reason),
            None if is_unknown => Availability::Unknown,
            None => Availability::Present,
        }
    }

    /// Makes the objects what they should be, and says what is known of the rest of the way. `held` are the trust domains whose
    /// bundles the SPIRE server holds, or why the agent cannot see them.
    ///
    /// Answers with what is to be tried again.
    pub async fn reconcile(&self, desired: &Desired, held: Result<&BTreeSet<TrustDomain>, &str>) -> (Report, Vec<String>) {
        let federations = federations(&self.own, desired, &self.settings);
        let before = self.live();
        let named = named(&before);
        // Without a look at the server, what is known is what the controller was given: a domain is named once its object is there.
        // What is named already stays, for it was usable then.
        let usable = |domain: &TrustDomain| match held {
            Ok(held) => held.contains(domain),
            Err(_) => {
                let is_given =
                    |object: &SpireObject| before.get(&object.name).and_then(|live| live.ours()).is_some_and(|there| there.says(object));
                let has_bundle = desired.trust.get(domain).is_some_and(|trust| trust.bundle.is_some());
                let object = federations.values().find(|object| object.owner == Owner::TrustDomain(domain.clone()));
                named.contains(domain.as_str()) || has_bundle && object.is_some_and(is_given)
            }
        };
        let identities = identities(desired, usable, &self.settings);
        let wanted: Objects<SpireObject> =
            federations.into_iter().chain(identities.objects).map(|(name, object)| (name, Arc::new(object))).collect();
        let has_relationship = |domain: &TrustDomain| desired.trust.get(domain).is_some_and(|trust| trust.relationship.is_some());
        let is_unwanted = |there: &Ours| match there.source.as_deref() {
            // One that has no bundle now, and had one, is not taken down for that.
            Some(FEDERATION) => trust_domain_of(there).is_none_or(|domain| !has_relationship(&domain)),
            source => source == Some(BINDING),
        };
        let written = self.writer.write(&wanted, &is_unwanted).await;

        let mut report = first_report(desired);
        for (binding, domains) in identities.waiting {
            report.wait_for(binding, &domains);
        }
        let after = self.live();
        for object in wanted.values() {
            self.report(&mut report, object, &after, &written, held.err());
        }
        if held.is_err() {
            report_trust_without_object(&mut report, desired);
        }
        report.told_at = after.values().filter(|live| live.ours().is_some()).filter_map(|live| live.status_time.clone()).max();
        (report, written.retry)
    }

    /// Everything of the kinds.
    fn live(&self) -> BTreeMap<ObjectName, Arc<Live>> {
        let mut all = BTreeMap::new();
        for mirror in self.writer.mirrors() {
            let Presence::Listed(live) = mirror.presence() else { continue };
            let kind = mirror.name();
            all.extend(
                live.iter()
                    .map(|((namespace, name), live)| (ObjectName { kind, namespace: namespace.clone(), name: name.clone() }, live.clone())),
            );
        }
        all
    }

    /// `blind` is why the agent does not see the bundles in the SPIRE server, where it does not.
    fn report(
        &self,
        report: &mut Report,
        object: &SpireObject,
        live: &BTreeMap<ObjectName, Arc<Live>>,
        written: &Written,
        blind: Option<&str>,
    ) {
        let obstacle = written.obstacle(&object.name).map(str::to_owned);
        let here = live.get(&object.name);
        match &object.owner {
            Owner::TrustDomain(domain) => {
                if let Some(obstacle) = obstacle.or_else(|| here.and_then(|here| preferred(domain, here, live))) {
                    report.trust.insert(domain.clone(), Outcome::Failed(obstacle));
                } else if let Some(why) = blind
                    && report.trust.get(domain) == Some(&Outcome::Applied)
                {
                    let reason = format!(
                        "{} is written, and whether the SPIRE server has the bundle by now is not known here: {why}. See the log of \
                         spire-controller-manager, and spire-server bundle list -id spiffe://{domain}",
                        object.name
                    );
                    report.trust.insert(domain.clone(), Outcome::Unseen(reason));
                }
            }
            Owner::Bindings(bindings) => {
                let outcome = match (obstacle, here) {
                    (Some(obstacle), _) => Outcome::Failed(obstacle),
                    (None, here) => {
                        let (status, time) = here.map_or((&Value::Null, None), |here| (&here.status, here.status_time.as_deref()));
                        told::outcome(&object.name, status, time, &self.settings.class_name)
                    }
                };
                for binding in bindings {
                    report.registrations.entry(binding.clone()).and_modify(|held| held.worsen(&outcome)).or_insert_with(|| outcome.clone());
                }
            }
        }
    }
}

/// Why the controller passes over our object `here` of this trust domain: of several it acts on the oldest.
fn preferred(domain: &TrustDomain, here: &Live, live: &BTreeMap<ObjectName, Arc<Live>>) -> Option<String> {
    let is_about_it = |other: &Live| other.claims.iter().any(|claimed| claimed == domain.as_str());
    let older = |other: &Live| (other.created, &other.uid) < (here.created, &here.uid);
    let (name, _) = live.iter().find(|(_, other)| other.ours().is_none() && is_about_it(other) && older(other))?;
    Some(format!(
        "{name} of somebody else is about the same trust domain and older, so spire-controller-manager acts on that one where it is of \
         its class. Delete it to let the federation take its place"
    ))
}

/// A trust domain without a bundle endpoint can be trusted by way of the server's own API alone.
fn report_trust_without_object(report: &mut Report, desired: &Desired) {
    for (domain, _) in desired.trust.iter().filter(|(_, trust)| trust.relationship.is_none() && trust.bundle.is_some()) {
        let reason = format!(
            "the trust zone of {domain} has no bundle endpoint, without which spire-controller-manager takes no bundle; give the zone \
             one, or the agent the SPIRE server's socket (spire_server_socket; chart: spire.socket.mount)"
        );
        report.trust.insert(domain.clone(), Outcome::Unsupported(reason));
    }
}

/// The domains that objects of ours name.
fn named(live: &BTreeMap<ObjectName, Arc<Live>>) -> BTreeSet<String> {
    let ours = live.values().filter_map(|live| live.ours()).map(Ours::json);
    let names = |there: Value| {
        let list = there["spec"]["federatesWith"].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    ours.flat_map(names).collect()
}

fn trust_domain_of(there: &Ours) -> Option<TrustDomain> {
    TrustDomain::new(there.json()["spec"]["trustDomain"].as_str()?).ok()
}
