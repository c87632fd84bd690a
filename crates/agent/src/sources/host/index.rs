//! Objects in, one [`ClusterView`] out. Pure: the same files after the same files give the same view.
//!
//! What the index remembers between two readings, and over a restart, is little: when each object was first seen (the
//! oldest wins a conflict), how often it changed (the generation in its status), and the last version of it that was
//! valid. The last one is what makes a half-written file harmless:
//!
//! - An object whose present text is not valid keeps its last valid version in force, and says so.
//! - While any document of a file is not valid, nothing that came from this file counts as deleted: what cannot be read
//!   may well be the object that seems to be missing.
//! - Where the memory is lost, there is no last valid version to keep. The view then says that it is incomplete, until
//!   everything has been valid once.
//! - A file without any text is one that somebody is about to write. To withdraw an object, delete it or its file.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::TrustDomain;
use cofide_k8s_api::manifest::{self, ManifestErrorReason};
use cofide_k8s_api::{Manifest, Object, ObjectMeta, ServiceSpec, Workload};
use serde::{Deserialize, Serialize};

use crate::view::{ClusterView, Kind, ObjectKey, Origin, ServiceObject};

/// What a source saw: the text of each origin, or why it could not be read.
pub type Scan = BTreeMap<Origin, Result<String, String>>;

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    next_age: u64,
    /// A list, because JSON has no keys that are not text.
    objects: Vec<(ObjectKey, Remembered)>,
    /// The memory was lost, and not everything that was found since was valid as a whole: see [`ClusterView::incomplete`].
    #[serde(default)]
    incomplete: bool,
}

/// What is remembered of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    age: u64,
    generation: u64,
    origin: Origin,
    /// As last read.
    text: String,
    /// The last text that was valid.
    valid: Option<String>,
}

/// A valid object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Valid {
    Service(Box<ServiceSpec>),
    Workload(Workload),
}

type Outcome = Result<Valid, Vec<String>>;

/// One document of one origin that claims to describe an object.
struct Claim<'a> {
    origin: &'a Origin,
    document: usize,
    text: &'a str,
    outcome: Outcome,
}

/// What was found in one reading, before it is compared with what is remembered.
#[derive(Default)]
struct Found<'a> {
    claims: BTreeMap<ObjectKey, Vec<Claim<'a>>>,
    problems: BTreeMap<Origin, Vec<String>>,
    /// Those of which not every document is valid.
    doubtful: BTreeSet<Origin>,
}

fn check(manifest: &Manifest, own: &TrustDomain) -> (ObjectKey, Outcome) {
    let key = |kind, metadata: &ObjectMeta| ObjectKey { kind, namespace: metadata.namespace.clone(), name: metadata.name.clone() };
    let texts = |problems: Vec<cofide_k8s_api::Problem>| problems.iter().map(ToString::to_string).collect();
    match &manifest.object {
        Object::FederatedService(read) => {
            let outcome = read.check(own).map(|spec| Valid::Service(Box::new(spec))).map_err(texts);
            (key(Kind::FederatedService, &read.object.metadata), outcome)
        }
        Object::WorkloadEntry(read) => {
            let outcome = read.check().map(Valid::Workload).map_err(texts);
            (key(Kind::WorkloadEntry, &read.object.metadata), outcome)
        }
    }
}

/// Whether a document is of somebody else's kind, and not one of ours of which half is written.
fn is_foreign(reason: &ManifestErrorReason) -> bool {
    let is_half_of = |ours: Kind, kind: &str| ours.as_str().starts_with(kind);
    match reason {
        ManifestErrorReason::OtherKind { meant: None, kind, .. } => {
            !is_half_of(Kind::FederatedService, kind) && !is_half_of(Kind::WorkloadEntry, kind)
        }
        _ => false,
    }
}

/// Reads again what was read before; `None` where it is not valid any more, as after an update of the agent.
fn outcome_of(text: &str, own: &TrustDomain) -> Option<Outcome> {
    let document = *manifest::documents(text).first()?;
    let manifest = manifest::read(document)?.ok()?;
    Some(check(&manifest, own).1)
}

impl<'a> Found<'a> {
    fn read(scan: &'a Scan, own: &TrustDomain) -> Self {
        let mut found = Self::default();
        for (origin, text) in scan {
            match text {
                Err(reason) => found.doubt(origin, format!("the file cannot be read: {reason}")),
                Ok(text) if text.trim().is_empty() => {
                    found.doubt(origin, "the file is empty; write a manifest into it, or delete it".to_owned());
                }
                Ok(text) => found.read_documents(origin, text, own),
            }
        }
        found
    }

    fn read_documents(&mut self, origin: &'a Origin, text: &'a str, own: &TrustDomain) {
        for document in manifest::documents(text) {
            match manifest::read(document) {
                None => {}
                Some(Ok(manifest)) => {
                    let (key, outcome) = check(&manifest, own);
                    if let Err(problems) = &outcome {
                        self.doubtful.insert(origin.clone());
                        if key.name.is_empty() {
                            // Nothing to remember it by, nor to tell two of them apart.
                            self.problem(origin, format!("document {}: {}", document.number, problems.join(". ")));
                            continue;
                        }
                    }
                    let claim = Claim { origin, document: document.number, text: document.text, outcome };
                    self.claims.entry(key).or_default().push(claim);
                }
                Some(Err(error)) => {
                    // Somebody else's kind is none of our business, and casts no doubt on the rest of the file.
                    if is_foreign(&error.reason) {
                        self.problem(origin, format!("{error}; it is ignored"));
                    } else {
                        self.doubt(origin, error.to_string());
                    }
                }
            }
        }
    }

    fn problem(&mut self, origin: &Origin, problem: String) {
        self.problems.entry(origin.clone()).or_default().push(problem);
    }

    fn doubt(&mut self, origin: &Origin, problem: String) {
        self.problem(origin, problem);
        self.doubtful.insert(origin.clone());
    }
}

impl Index {
    /// For an agent that knew manifests once, and lost its memory of them.
    pub fn without_memory() -> Self {
        Self { incomplete: true, ..Self::default() }
    }

    /// Takes in a reading of all files and answers how the cluster looks now.
    pub fn update(&mut self, own: &TrustDomain, scan: &Scan) -> ClusterView {
        let mut found = Found::read(scan, own);
        let mut remembered: BTreeMap<ObjectKey, Remembered> = std::mem::take(&mut self.objects).into_iter().collect();
        let mut outcomes: BTreeMap<ObjectKey, Outcome> = BTreeMap::new();
        for (key, claims) in std::mem::take(&mut found.claims) {
            let claim = choose(&key, claims, remembered.get(&key), &mut found);
            let next = self.remember(own, remembered.get(&key), &claim);
            remembered.insert(key.clone(), next);
            outcomes.insert(key, claim.outcome);
        }
        remembered.retain(|key, object| outcomes.contains_key(key) || found.doubtful.contains(&object.origin));

        self.incomplete &= !found.doubtful.is_empty();
        let mut view = ClusterView { incomplete: self.incomplete, ..ClusterView::default() };
        for (key, object) in &remembered {
            let missing = || Err(vec![format!("it is not found in {}, which is not valid as a whole", object.origin)]);
            let (now, problems) = match outcomes.remove(key).unwrap_or_else(missing) {
                Ok(valid) => (Some(valid), Vec::new()),
                Err(problems) => (None, problems),
            };
            let in_force = now.or_else(|| outcome_of(object.valid.as_deref()?, own)?.ok());
            match (key.kind, in_force) {
                (Kind::FederatedService, valid) => {
                    let spec = match valid {
                        Some(Valid::Service(spec)) => Some(*spec),
                        _ => None,
                    };
                    let (origin, age, generation) = (object.origin.clone(), object.age, object.generation);
                    view.services.push(ServiceObject { key: key.clone(), origin, age, generation, spec, problems, backing: None });
                }
                (Kind::WorkloadEntry, valid) => {
                    for problem in problems {
                        found.problem(&object.origin, format!("{key}: {problem}"));
                    }
                    if let Some(Valid::Workload(workload)) = valid {
                        view.workloads.push(workload);
                    }
                }
            }
        }
        view.services.sort_by_key(|service| service.age);
        view.workloads.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        view.problems = found.problems;
        self.objects = remembered.into_iter().collect();
        view
    }

    /// The view of an agent that has begun with files that it cannot look at: what it remembers, and the reason.
    pub fn recall(&mut self, own: &TrustDomain, reason: &str) -> ClusterView {
        let scan = self.objects.iter().map(|(_, object)| (object.origin.clone(), Err(reason.to_owned()))).collect();
        self.update(own, &scan)
    }

    fn remember(&mut self, own: &TrustDomain, known: Option<&Remembered>, claim: &Claim<'_>) -> Remembered {
        let (origin, text) = (claim.origin.clone(), claim.text.to_owned());
        let valid = claim.outcome.is_ok().then(|| text.clone());
        match known {
            None => {
                self.next_age += 1;
                Remembered { age: self.next_age, generation: 1, origin, text, valid }
            }
            Some(known) => {
                // A comment or a reordered key asks for nothing new.
                let changed = known.text != text && outcome_of(&known.text, own).as_ref() != Some(&claim.outcome);
                let valid = valid.or_else(|| known.valid.clone());
                Remembered { age: known.age, generation: known.generation + u64::from(changed), origin, text, valid }
            }
        }
    }
}

/// An object is described once. The description that was there first stays; a copy elsewhere is reported where it is.
fn choose<'a>(key: &ObjectKey, mut claims: Vec<Claim<'a>>, known: Option<&Remembered>, found: &mut Found<'_>) -> Claim<'a> {
    let first = known.and_then(|known| claims.iter().position(|claim| *claim.origin == known.origin)).unwrap_or(0);
    let chosen = claims.swap_remove(first);
    for other in claims {
        let place = format!("{}, document {}", chosen.origin, chosen.document);
        found.doubt(other.origin, format!("document {}: {key} is described in {place} already; delete one of them", other.document));
    }
    chosen
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
