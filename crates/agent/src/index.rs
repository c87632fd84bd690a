//! Objects in, one [`ClusterView`] out. Pure: the same files after the same files give the same view.
//!
//! What the index remembers between two readings, and over a restart, is little: when each object was first seen (the
//! oldest wins a conflict), how often it changed (the generation in its status), and the last version of it that was
//! valid. The last one is what makes a half-written file harmless:
//!
//! - An object whose present text is not valid keeps its last valid version in force, and says so.
//! - While any document of a file is not valid, nothing that came from this file counts as deleted: what cannot be read
//!   may well be the object that seems to be missing.
//! - A file without any document is one that somebody is about to write. To withdraw an object, delete it or its file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cofide_core::TrustDomain;
use serde::{Deserialize, Serialize};

use crate::sources::manifest::{self, Header, Parsed};
use crate::view::{ClusterView, Kind, ObjectKey, Problem, ServiceObject};

/// What a source saw: the text of each file, or why it could not be read.
pub type Scan = BTreeMap<PathBuf, Result<String, String>>;

/// What is remembered of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    age: u64,
    generation: u64,
    file: PathBuf,
    /// As last read.
    text: String,
    /// The last text that was valid.
    valid: Option<String>,
}

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    next_age: u64,
    objects: Vec<(ObjectKey, Remembered)>,
}

/// One document of one file that claims to describe an object.
struct Claim<'a> {
    file: &'a Path,
    place: String,
    text: &'a str,
}

/// What was found in one reading, before it is compared with what is remembered.
#[derive(Default)]
struct Found<'a> {
    claims: BTreeMap<ObjectKey, Vec<Claim<'a>>>,
    problems: BTreeMap<PathBuf, Vec<Problem>>,
    /// Files of which not every document is valid.
    doubtful: BTreeSet<PathBuf>,
}

impl<'a> Found<'a> {
    fn problem(&mut self, file: &Path, at: String, reason: String) {
        self.problems.entry(file.to_owned()).or_default().push(Problem { at, reason });
        self.doubtful.insert(file.to_owned());
    }

    fn read(scan: &'a Scan) -> Self {
        let mut found = Self::default();
        for (file, text) in scan {
            match text {
                Err(reason) => found.problem(file, String::new(), format!("the file cannot be read: {reason}")),
                Ok(text) if text.trim().is_empty() => {
                    found.problem(file, String::new(), "the file is empty; write a manifest into it or delete it".to_owned());
                }
                Ok(text) => found.read_file(file, text),
            }
        }
        found
    }

    fn read_file(&mut self, file: &'a Path, text: &'a str) {
        for (number, document) in manifest::documents(text) {
            let place = format!("document {number}");
            match manifest::header(document) {
                Header::Object(key) => {
                    self.claims.entry(key).or_default().push(Claim { file, place, text: document });
                }
                // Somebody else's kind is none of our business, and says nothing about the rest of the file.
                Header::OtherKind(what) => {
                    let reason = format!("{what} is not a kind that this agent reads; it is ignored");
                    self.problems.entry(file.to_owned()).or_default().push(Problem { at: place, reason });
                }
                Header::Unreadable(reason) => self.problem(file, place, reason),
            }
        }
    }
}

impl Index {
    /// Takes in a reading of all files and answers how the cluster looks now.
    pub fn update(&mut self, own: &TrustDomain, scan: &Scan) -> ClusterView {
        let mut found = Found::read(scan);
        let mut remembered: BTreeMap<ObjectKey, Remembered> = std::mem::take(&mut self.objects).into_iter().collect();
        let mut view = ClusterView::default();
        let mut parsed = BTreeMap::new();

        for (key, claims) in std::mem::take(&mut found.claims) {
            let known = remembered.get(&key);
            // The one that was there first stays; a copy elsewhere is reported where it is.
            let chosen = known.and_then(|known| claims.iter().position(|claim| claim.file == known.file)).unwrap_or(0);
            for (_, other) in claims.iter().enumerate().filter(|(at, _)| *at != chosen) {
                let first = claims[chosen].file.display();
                let reason = format!("{key} is already described in {first} ({}); delete one of them", claims[chosen].place);
                found.problem(other.file, other.place.clone(), reason);
            }
            let claim = &claims[chosen];
            let outcome = manifest::parse(key.kind, claim.text, own);
            if let Err(problems) = &outcome {
                found.doubtful.insert(claim.file.to_owned());
                if key.kind == Kind::WorkloadEntry {
                    let named = problems.iter().map(|problem| Problem { at: format!("{key} {}", problem.at), ..problem.clone() });
                    found.problems.entry(claim.file.to_owned()).or_default().extend(named);
                }
            }
            let next = self.remember(own, known, &key, claim, &outcome);
            remembered.insert(key.clone(), next);
            parsed.insert(key, outcome);
        }

        remembered.retain(|key, object| parsed.contains_key(key) || found.doubtful.contains(&object.file));
        for (key, object) in &remembered {
            let problems = match parsed.get(key) {
                Some(Ok(_)) => Vec::new(),
                Some(Err(problems)) => problems.clone(),
                None => vec![Problem {
                    at: String::new(),
                    reason: format!("not found in {}, which is not valid as a whole", object.file.display()),
                }],
            };
            let valid = match (parsed.remove(key), &object.valid) {
                (Some(Ok(now)), _) => Some(now),
                (_, Some(text)) => manifest::parse(key.kind, text, own).ok(),
                _ => None,
            };
            match (key.kind, valid) {
                (Kind::WorkloadEntry, Some(Parsed::Workload(workload))) => view.workloads.push(workload),
                (Kind::WorkloadEntry, _) => {}
                (Kind::FederatedService, valid) => {
                    let spec = match valid {
                        Some(Parsed::Service(spec)) => Some(spec),
                        _ => None,
                    };
                    let (file, age, generation) = (object.file.clone(), object.age, object.generation);
                    view.services.push(ServiceObject { key: key.clone(), file, age, generation, spec, problems });
                }
            }
        }
        view.services.sort_by_key(|service| service.age);
        view.workloads.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        view.problems = found.problems;
        self.objects = remembered.into_iter().collect();
        view
    }

    fn remember(
        &mut self,
        own: &TrustDomain,
        known: Option<&Remembered>,
        key: &ObjectKey,
        claim: &Claim<'_>,
        outcome: &Result<Parsed, Vec<Problem>>,
    ) -> Remembered {
        let valid = outcome.is_ok().then(|| claim.text.to_owned());
        match known {
            None => {
                self.next_age += 1;
                Remembered { age: self.next_age, generation: 1, file: claim.file.to_owned(), text: claim.text.to_owned(), valid }
            }
            Some(known) => {
                // A comment or a reordered key asks for nothing new.
                let changed = known.text != claim.text && manifest::parse(key.kind, &known.text, own) != *outcome;
                Remembered {
                    age: known.age,
                    generation: known.generation + u64::from(changed),
                    file: claim.file.to_owned(),
                    text: claim.text.to_owned(),
                    valid: valid.or_else(|| known.valid.clone()),
                }
            }
        }
    }
}
