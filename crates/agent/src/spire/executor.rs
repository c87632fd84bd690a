//! Brings the server to what the plan asks for, and says what became of each part.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{AttestationPolicyBindingId, TrustDomain};

use super::client::{EntryResult, SpireClient, SpireError};
use super::diff::{EntryChange, TrustChange, TrustRemoval, adopted, entry_changes, kept_bundles, strangers, trust_changes, trust_removals};
use super::model::{BundleMark, Desired, DesiredTrust, OwnedTrust, State};
use super::view::{EntryView, Reading};

/// What became of one registration or one federated trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// Nothing is wrong here; somebody else has to deliver first.
    Waiting(String),
    /// It is written where somebody else is to act on it, and nobody has shown that this works.
    Unseen(String),
    /// The server holds something newer than what was asked for, and rightly so. To try again would change nothing; what
    /// was asked for is not in effect all the same.
    Outdated(String),
    /// The server refused, or the agent saw that it would.
    Failed(String),
    /// There is no means for it, and to try again would not bring one.
    Unsupported(String),
    /// It is somebody else's to do, and this agent cannot know whether it is done.
    LeftAlone,
}

impl Outcome {
    /// Takes the place of this one where it is the worse of two about one thing.
    pub fn worsen(&mut self, other: &Self) {
        let badness = |outcome: &Self| match outcome {
            Self::Applied => 0,
            Self::Waiting(_) => 1,
            Self::Unseen(_) => 2,
            Self::LeftAlone => 3,
            Self::Outdated(_) => 4,
            Self::Unsupported(_) => 5,
            Self::Failed(_) => 6,
        };
        if badness(other) > badness(self) {
            self.clone_from(other);
        }
    }
}

/// What Connect is told of pods where nobody can see them.
const NO_CONTROLLER: &str = "a kubernetes policy needs spire-controller-manager, which makes entries of pods: install it, and let the agent drive it \
     by setting AGENT_SPIRE (chart: spire.mode) to crd";

/// What Connect is told of [`Outcome::LeftAlone`].
pub const LEFT_ALONE: &str = "not known here: this agent leaves the SPIRE server alone, for AGENT_SPIRE (chart: spire.mode) is none; so whoever \
     keeps that server has to give it this";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub registrations: BTreeMap<AttestationPolicyBindingId, Outcome>,
    pub trust: BTreeMap<TrustDomain, Outcome>,
    /// What the server trusts beside the plan, by nobody's wish that the agent knows of.
    pub strangers: BTreeSet<TrustDomain>,
    /// When a controller that stands between the agent and the server last told something new: RFC 3339.
    pub told_at: Option<String>,
}

impl Report {
    /// The things that the server refused, for retry and for status.
    pub fn failures(&self) -> Vec<String> {
        let failed = |outcome: &Outcome| match outcome {
            Outcome::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        let registrations = self.registrations.iter().filter_map(|(id, outcome)| Some(format!("binding {id}: {}", failed(outcome)?)));
        let trust = self.trust.iter().filter_map(|(domain, outcome)| Some(format!("trust domain {domain}: {}", failed(outcome)?)));
        registrations.chain(trust).collect()
    }

    /// Nothing could be done of all that could have been.
    pub fn all_failed(desired: &Desired, reason: &str) -> Self {
        let failed = || Outcome::Failed(reason.to_owned());
        let mut report = first_report(desired);
        let pods = desired.pods.iter().map(|pods| &pods.binding);
        let bindings = desired.entries.iter().flat_map(|entry| &entry.bindings).chain(pods);
        report.registrations.extend(bindings.map(|binding| (binding.clone(), failed())));
        report.trust = desired.trust.keys().map(|trust_domain| (trust_domain.clone(), failed())).collect();
        report
    }

    /// Whether anything was left to somebody else.
    pub fn has_left_alone(&self) -> bool {
        self.registrations.values().chain(self.trust.values()).any(|outcome| *outcome == Outcome::LeftAlone)
    }

    /// How much is written of which nobody has shown that it works.
    pub fn unseen(&self) -> usize {
        self.registrations.values().chain(self.trust.values()).filter(|outcome| matches!(outcome, Outcome::Unseen(_))).count()
    }

    /// For a binding whose identities are issued without the bundles of these domains.
    pub fn wait_for(&mut self, binding: AttestationPolicyBindingId, domains: &BTreeSet<TrustDomain>) {
        let names: Vec<_> = domains.iter().map(ToString::to_string).collect();
        let reason = format!("the bundle of {} has not arrived; the identity is issued without it until then", names.join(", "));
        self.registrations.entry(binding).or_insert(Outcome::Waiting(reason));
    }

    fn fail_trust(&mut self, trust_domain: &TrustDomain, reason: String) {
        self.trust.insert(trust_domain.clone(), Outcome::Failed(reason));
    }
}

/// Reads the server, which must be one of the trust domain `own`, applies what differs, and reports.
///
/// Entries are read where `view` does not have them.
///
/// `keep` is called with the list of owned trust domains before the server is touched and after: a crash between the
/// two leaves the domain on the list, where the next run finds it again. If it fails, no trust is changed, for what
/// the agent does not remember it could never take down again.
///
/// # Errors
///
/// When the server cannot be read or stops answering. What was applied until then stays; run again. When it is of another
/// trust domain, before anything is changed in it.
pub async fn reconcile<E: std::fmt::Display>(
    server: &SpireClient,
    own: &TrustDomain,
    desired: &Desired,
    owned: &mut OwnedTrust,
    view: &mut EntryView,
    mut keep: impl FnMut(&OwnedTrust) -> Result<(), E>,
) -> Result<Report, SpireError> {
    let own_bundle = server.bundle_of(own).await?;
    let now = tokio::time::Instant::now();
    let mut reading = match view.take(&own_bundle, now) {
        Some(reading) => reading,
        None => Reading::new(server.entries().await?, &own_bundle, now),
    };
    let state = State { entries: std::mem::take(&mut reading.entries), ..server.read_trust().await? };
    let mut report = first_report(desired);

    let bundles = set_trust(server, desired, &state, owned, &mut keep, &mut report).await?;

    let entries = entry_changes(desired, &state, &bundles);
    report.registrations.extend(entries.conflicts.into_iter().map(|(binding, reason)| (binding, Outcome::Failed(reason))));
    for (binding, domains) in entries.waiting {
        report.wait_for(binding, &domains);
    }
    let results = server.change_entries(&entries.changes).await?;
    for (change, result) in entries.changes.iter().zip(&results) {
        report_entry(&mut report, change, result);
    }

    report.strangers = strangers(desired, &state, owned);

    let removals = trust_removals(desired, &state, owned);
    reading.entries = state.entries;
    reading.follow(&entries.changes, &results);
    remove_trust(server, desired, removals, owned, &mut keep, &mut report).await?;
    for pods in &desired.pods {
        report.registrations.insert(pods.binding.clone(), Outcome::Unsupported(NO_CONTROLLER.to_owned()));
    }
    view.put(reading);
    // Everything that nothing was said about is as it should be.
    let all = desired.entries.iter().flat_map(|entry| &entry.bindings);
    for binding in all {
        report.registrations.entry(binding.clone()).or_insert(Outcome::Applied);
    }
    Ok(report)
}

/// Sets bundles and relationships. Answers with the domains whose bundles the server holds then.
async fn set_trust<E: std::fmt::Display>(
    server: &SpireClient,
    desired: &Desired,
    state: &State,
    owned: &mut OwnedTrust,
    keep: &mut impl FnMut(&OwnedTrust) -> Result<(), E>,
    report: &mut Report,
) -> Result<BTreeSet<TrustDomain>, SpireError> {
    let mut bundles: BTreeSet<TrustDomain> = state.bundles.keys().cloned().collect();
    for (trust_domain, reason) in kept_bundles(desired, state, owned) {
        report.trust.insert(trust_domain, Outcome::Outdated(reason.to_owned()));
    }
    let changes = trust_changes(desired, state, owned);
    let known = owned.len();
    let touched = changes.iter().map(|change| change.trust_domain().clone());
    for trust_domain in adopted(desired, state, owned).into_iter().chain(touched) {
        owned.entry(trust_domain).or_default();
    }
    let kept = if changes.is_empty() && owned.len() == known { Ok(()) } else { keep(owned) };
    if changes.is_empty() {
        told(&kept);
    }
    for change in &changes {
        let trust_domain = change.trust_domain();
        if let Err(error) = &kept {
            report.fail_trust(trust_domain, format!("the agent's state cannot be kept: {error}"));
            continue;
        }
        match server.change_trust(change).await? {
            Ok(()) => {
                tracing::info!(%trust_domain, change = name(change), "federated trust changed in the SPIRE server");
                if let TrustChange::SetBundle(bundle) = change {
                    bundles.insert(trust_domain.clone());
                    owned.insert(trust_domain.clone(), BundleMark::of(bundle));
                }
            }
            Err(status) => report.fail_trust(trust_domain, format!("{}: {}", name(change), status.message())),
        }
    }
    if !changes.is_empty() {
        told(&keep(owned));
    }
    Ok(bundles)
}

/// Takes down what is the agent's and nobody wants any more. Where the server stops answering, the rest is reported as still there.
async fn remove_trust<E: std::fmt::Display>(
    server: &SpireClient,
    desired: &Desired,
    removals: Vec<TrustRemoval>,
    owned: &mut OwnedTrust,
    keep: &mut impl FnMut(&OwnedTrust) -> Result<(), E>,
    report: &mut Report,
) -> Result<(), SpireError> {
    let mut still_there = BTreeSet::new();
    let mut removals = removals.into_iter();
    while let Some(removal) = removals.next() {
        let trust_domain = removal.trust_domain().clone();
        let (what, answer) = match &removal {
            TrustRemoval::Relationship(domain) => ("delete the federation relationship", server.delete_relationship(domain).await),
            TrustRemoval::Bundle(domain) => ("delete the federated bundle", server.delete_bundle(domain).await),
        };
        let result = match answer {
            Ok(result) => result,
            Err(error) => {
                for left in std::iter::once(removal).chain(removals) {
                    report.fail_trust(left.trust_domain(), format!("the SPIRE server still trusts it, and it is tried again: {error}"));
                }
                return Err(error);
            }
        };
        match result {
            Ok(()) => tracing::info!(%trust_domain, change = what, "federated trust removed from the SPIRE server"),
            Err(status) => {
                still_there.insert(trust_domain.clone());
                report.fail_trust(&trust_domain, format!("{what}: {}", status.message()));
            }
        }
    }
    let before = owned.len();
    owned.retain(|trust_domain, _| desired.trust.contains_key(trust_domain) || still_there.contains(trust_domain));
    if owned.len() != before {
        told(&keep(owned));
    }
    Ok(())
}

/// The bundles of a server whose entries and relationships are a controller's. That one passes a bundle on when it makes a
/// relationship, and never again; and it takes none down.
#[derive(Debug)]
pub struct Bundles {
    desired: Desired,
    state: State,
    /// The domains whose bundles the server holds.
    pub held: BTreeSet<TrustDomain>,
}

impl Bundles {
    /// Sets those that differ in a server of the trust domain `own`; what became of it goes into `report`, strangers too. See
    /// [`reconcile`] for `keep` and errors.
    pub async fn set<E: std::fmt::Display>(
        server: &SpireClient,
        own: &TrustDomain,
        desired: &Desired,
        owned: &mut OwnedTrust,
        mut keep: impl FnMut(&OwnedTrust) -> Result<(), E>,
        report: &mut Report,
    ) -> Result<Self, SpireError> {
        server.bundle_of(own).await?;
        let only_bundle = |trust: &DesiredTrust| DesiredTrust { bundle: trust.bundle.clone(), relationship: None };
        let trust = desired.trust.iter().map(|(domain, trust)| (domain.clone(), only_bundle(trust))).collect();
        let desired = Desired { trust, ..Desired::default() };
        let state = State { relationships: BTreeMap::new(), ..server.read_trust().await? };
        let held = set_trust(server, &desired, &state, owned, &mut keep, report).await?;
        report.strangers = strangers(&desired, &state, owned);
        Ok(Self { desired, state, held })
    }

    /// Removes those that nothing wants any more, once no entry names them: until then the server refuses, and that is told. So it
    /// is where the server stops answering.
    pub async fn remove<E: std::fmt::Display>(
        self,
        server: &SpireClient,
        owned: &mut OwnedTrust,
        mut keep: impl FnMut(&OwnedTrust) -> Result<(), E>,
        report: &mut Report,
    ) {
        let removals = trust_removals(&self.desired, &self.state, owned);
        // What it kept from being removed is in the report.
        drop(remove_trust(server, &self.desired, removals, owned, &mut keep, report).await);
    }
}

fn told<E: std::fmt::Display>(kept: &Result<(), E>) {
    if let Err(error) = kept {
        tracing::error!(%error, "cannot keep the list of federated trust domains; it is tried again with the next change");
    }
}

/// What is known before anything is done.
pub(crate) fn first_report(desired: &Desired) -> Report {
    let refused = desired.refused.iter().map(|(binding, reason)| (binding.clone(), Outcome::Failed(reason.clone())));
    let unsupported = desired.unsupported.iter().map(|(binding, reason)| (binding.clone(), Outcome::Unsupported(reason.clone())));
    let trust = desired.trust.iter().map(|(trust_domain, trust)| {
        let outcome = match trust.bundle {
            Some(_) => Outcome::Applied,
            None => Outcome::Waiting(format!("the trust zone of {trust_domain} has not delivered its bundle")),
        };
        (trust_domain.clone(), outcome)
    });
    Report { registrations: refused.chain(unsupported).collect(), trust: trust.collect(), ..Report::default() }
}

fn report_entry(report: &mut Report, change: &EntryChange, result: &EntryResult) {
    let (what, spiffe_id, bindings) = match change {
        EntryChange::Create { key, bindings, .. } => ("create the entry".to_owned(), &key.spiffe_id, bindings.clone()),
        EntryChange::Update { id, spiffe_id, bindings, .. } => (format!("update the entry {id}"), spiffe_id, bindings.clone()),
        EntryChange::Delete { id, spiffe_id } => (format!("delete the entry {id}"), spiffe_id, BTreeSet::new()),
    };
    match result {
        Ok(_) => tracing::info!(spiffe_id, change = what, "registration changed in the SPIRE server"),
        Err(status) => {
            tracing::warn!(spiffe_id, change = what, reason = status.message(), "the SPIRE server refused a registration");
            for binding in bindings {
                report.registrations.insert(binding, Outcome::Failed(format!("{what} of {spiffe_id}: {}", status.message())));
            }
        }
    }
}

fn name(change: &TrustChange) -> &'static str {
    match change {
        TrustChange::SetBundle(_) => "set the federated bundle",
        TrustChange::CreateRelationship(_) => "create the federation relationship",
        TrustChange::UpdateRelationship(_) => "update the federation relationship",
    }
}
