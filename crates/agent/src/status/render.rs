//! What the status files say. Pure but for the time, which is an argument.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cofide_core::Gateway;
use serde::{Deserialize, Serialize};

use super::status_file;
use crate::export::Export;
use crate::export::conditions::Condition;
use crate::view::{ObjectKey, Problem};

/// Begins every status file. A file that does not begin with it is not the agent's and is never removed.
pub const HEADER: &str = "# Written by cofide-agent; do not edit.\n";

/// Content by status file.
pub type StatusFiles = BTreeMap<PathBuf, String>;

/// When each condition last changed its status: what a rendering needs from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transitions(BTreeMap<(ObjectKey, String), (String, String)>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: String,
    kind: String,
    metadata: Metadata,
    status: Status,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    conditions: Vec<WrittenCondition>,
    gateway_entries: Vec<WrittenGateway>,
    observed_generation: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenCondition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
    last_transition_time: String,
    observed_generation: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenGateway {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    port: u16,
}

impl From<&Gateway> for WrittenGateway {
    fn from(gateway: &Gateway) -> Self {
        Self {
            r#type: gateway.kind.to_string(),
            hostname: gateway.address.hostname().map(ToString::to_string),
            ip: gateway.address.ip().map(|ip| ip.to_string()),
            port: gateway.port.get(),
        }
    }
}

/// The part of a file that belongs to no FederatedService.
#[derive(Serialize)]
struct FileProblems {
    kind: &'static str,
    file: String,
    problems: Vec<String>,
}

/// The status files for these exports and problems. A manifest about which there is nothing to say has none.
///
/// `now` is RFC 3339 in UTC; it becomes the transition time of the conditions whose status differs from `transitions`.
pub fn render(
    exports: &[(&Export, Vec<Condition>)],
    problems: &BTreeMap<PathBuf, Vec<Problem>>,
    transitions: &mut Transitions,
    now: &str,
) -> StatusFiles {
    let mut documents: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (file, problems) in problems {
        let about =
            FileProblems { kind: "ManifestProblems", file: file_name(file), problems: problems.iter().map(ToString::to_string).collect() };
        documents.entry(file.clone()).or_default().push(yaml(&about));
    }
    let before = std::mem::take(transitions);
    for (export, conditions) in exports {
        let written = conditions.iter().map(|condition| {
            let slot = (export.key.clone(), condition.kind.as_str().to_owned());
            let status = condition.status.as_str().to_owned();
            let since = match before.0.get(&slot) {
                Some((held, since)) if *held == status => since.clone(),
                _ => now.to_owned(),
            };
            transitions.0.insert(slot, (status.clone(), since.clone()));
            WrittenCondition {
                r#type: condition.kind.as_str().to_owned(),
                status,
                reason: condition.reason.to_owned(),
                message: condition.message.clone(),
                last_transition_time: since,
                observed_generation: export.generation,
            }
        });
        let document = Document {
            api_version: "registry.cofide.io/v1alpha1".to_owned(),
            kind: export.key.kind.to_string(),
            metadata: Metadata { name: export.key.name.clone(), namespace: export.key.namespace.clone() },
            status: Status {
                conditions: written.collect(),
                gateway_entries: export
                    .offer()
                    .map(|offer| offer.service.gateway_entries.iter().map(Into::into).collect())
                    .unwrap_or_default(),
                observed_generation: export.generation,
            },
        };
        documents.entry(export.file.clone()).or_default().push(yaml(&document));
    }
    documents.into_iter().map(|(manifest, documents)| (status_file(&manifest), format!("{HEADER}{}", documents.join("---\n")))).collect()
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).expect("plain structs of strings and numbers serialise")
}

impl Transitions {
    /// Takes over what an earlier process wrote into a status file, so that a restart changes no transition time.
    pub fn remember(&mut self, text: &str) {
        for (_, document) in crate::sources::manifest::documents(text) {
            let Ok(document) = serde_saphyr::from_str::<Document>(document) else { continue };
            let kind = match document.kind.as_str() {
                "FederatedService" => crate::view::Kind::FederatedService,
                _ => continue,
            };
            let key = ObjectKey { kind, namespace: document.metadata.namespace, name: document.metadata.name };
            for condition in document.status.conditions {
                self.0.insert((key.clone(), condition.r#type), (condition.status, condition.last_transition_time));
            }
        }
    }
}
