//! What the status files say. Pure but for the time, which is an argument.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cofide_k8s_api::{Condition, FederatedServiceStatus, federated_service};
use serde::{Deserialize, Serialize};

use super::service::service_status;
use super::status_file;
use crate::export::Export;
use crate::export::conditions;
use crate::view::{Kind, ObjectKey, Origin};

/// Begins every status file. A file that does not begin with it is not the agent's and is never removed.
pub const HEADER: &str = "# Written by cofide-agent; do not edit.\n";

/// Content by status file.
pub type StatusFiles = BTreeMap<PathBuf, String>;

/// What was said last, for the times at which conditions changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(BTreeMap<ObjectKey, Vec<Condition>>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: String,
    kind: String,
    metadata: Metadata,
    status: FederatedServiceStatus,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
}

/// The part of a file that belongs to no FederatedService.
#[derive(Serialize)]
struct ManifestProblems<'a> {
    kind: &'static str,
    file: String,
    problems: &'a [String],
}

/// The status files for these exports and problems. A manifest about which there is nothing to say has none.
///
/// `now` is RFC 3339 in UTC; it becomes the transition time of the conditions whose status differs from `history`.
pub fn render(
    exports: &[(&Export, Vec<conditions::Condition>)],
    problems: &BTreeMap<Origin, Vec<String>>,
    history: &mut History,
    now: &str,
) -> StatusFiles {
    let mut documents: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for (origin, problems) in problems {
        let Origin::File(file) = origin else { continue };
        documents.entry(file).or_default().push(yaml(&ManifestProblems { kind: "ManifestProblems", file: file_name(file), problems }));
    }
    let mut before = std::mem::take(history);
    for (export, conditions) in exports {
        // The status of an object is in the object.
        let Origin::File(file) = &export.origin else { continue };
        let status = service_status(export, conditions, &before.0.remove(&export.key).unwrap_or_default(), now);
        history.0.insert(export.key.clone(), status.conditions.clone());
        let document = Document {
            api_version: federated_service::API_VERSION.to_owned(),
            kind: export.key.kind.as_str().to_owned(),
            metadata: Metadata { name: export.key.name.clone(), namespace: export.key.namespace.clone() },
            status,
        };
        documents.entry(file).or_default().push(yaml(&document));
    }
    documents.into_iter().map(|(manifest, documents)| (status_file(manifest), format!("{HEADER}{}", documents.join("---\n")))).collect()
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).expect("plain structs of strings and numbers serialise")
}

impl History {
    /// Takes over what an earlier process wrote into a status file, so that a restart changes no transition time.
    pub fn remember(&mut self, text: &str) {
        for document in cofide_k8s_api::documents(text) {
            let Ok(Document { kind, metadata, status, .. }) = serde_saphyr::from_str(document.text) else { continue };
            if kind == Kind::FederatedService.as_str() {
                let key = ObjectKey { kind: Kind::FederatedService, namespace: metadata.namespace, name: metadata.name };
                self.0.insert(key, status.conditions);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Decision;
    use cofide_core::ConditionKind;
    use cofide_k8s_api::ConditionStatus;

    fn export(name: &str, file: &str, generation: u64) -> Export {
        let key = ObjectKey { kind: Kind::FederatedService, namespace: "demo".to_owned(), name: name.to_owned() };
        Export { key, origin: Origin::File(file.into()), generation, problems: vec![], decision: Decision::Invalid }
    }

    fn accepted(status: ConditionStatus, message: &str) -> Vec<conditions::Condition> {
        vec![conditions::Condition { kind: ConditionKind::Accepted, status, reason: "Reason", message: message.to_owned() }]
    }

    #[test]
    fn one_file_tells_of_all_its_objects_and_of_what_is_none() {
        let one = export("one", "m/demo.yaml", 3);
        let two = export("two", "m/demo.yaml", 1);
        let long = "a sentence of many words: with a colon, 'quotes' and enough length that a writer might want to fold it";
        let exports = [(&one, accepted(ConditionStatus::True, "fine")), (&two, accepted(ConditionStatus::False, long))];
        let problems = BTreeMap::from([(Origin::File("m/demo.yaml".into()), vec!["document 3: it is broken".to_owned()])]);
        let files = render(&exports, &problems, &mut History::default(), "2026-01-01T00:00:00Z");
        insta::assert_snapshot!(files[Path::new("m/demo.status.yaml")]);
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn a_time_of_transition_outlives_the_process_and_changes_with_the_status_alone() {
        let first = "2026-01-01T00:00:00Z";
        let render_at = |generation: u64, status: ConditionStatus, history: &mut History, now: &str| {
            let one = export("one", "demo.yaml", generation);
            render(&[(&one, accepted(status, "fine"))], &BTreeMap::new(), history, now).remove(Path::new("demo.status.yaml")).unwrap()
        };
        let written = render_at(1, ConditionStatus::True, &mut History::default(), first);
        let mut history = History::default();
        history.remember(&written);
        let again = render_at(2, ConditionStatus::True, &mut history, "2026-02-02T00:00:00Z");
        assert!(again.contains(first) && again.contains("observedGeneration: 2"), "{again}");
        let changed = render_at(2, ConditionStatus::False, &mut history, "2026-03-03T00:00:00Z");
        assert!(changed.contains("2026-03-03") && !changed.contains(first), "{changed}");
    }
}
