//! Files of objects: several YAML documents, of which each stands for itself.

use std::fmt;

use serde_json::Value;

use crate::fields::Read;
use crate::{FederatedService, WorkloadEntry, federated_service, workload_entry};

/// One document of a file, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// Counted from 1; documents without content are not counted.
    pub number: usize,
    /// The line of the file on which the text begins, counted from 1.
    pub line: usize,
    pub text: &'a str,
}

/// An object of a kind that we read, and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub document: usize,
    pub line: usize,
    pub object: Object,
}

/// The kinds that we read. Whether the object makes sense is a question for its `check`.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    FederatedService(Box<Read<FederatedService>>),
    WorkloadEntry(Box<Read<WorkloadEntry>>),
}

/// Why a document gives no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {document}, line {line}: {reason}")]
pub struct ManifestError {
    pub document: usize,
    /// Of the file, where the error is; the first line of the document where it is about all of it.
    pub line: usize,
    pub reason: ManifestErrorReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestErrorReason {
    /// Not YAML, or YAML that no object can be written in.
    Unreadable(String),
    /// YAML, but not a Kubernetes object.
    NoObject(&'static str),
    /// An object, but of a kind that is somebody else's. Nothing is wrong with that, unless it was meant for us.
    OtherKind {
        api_version: String,
        kind: String,
        /// What it looks like, where it looks like one of ours.
        meant: Option<String>,
    },
}

impl fmt::Display for ManifestErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => write!(f, "cannot be read as YAML: {reason}"),
            Self::NoObject(reason) => f.write_str(reason),
            Self::OtherKind { api_version, kind, meant: Some(meant) } => {
                write!(f, "{kind} of {api_version} is not known; did you mean {meant}?")
            }
            Self::OtherKind { api_version, kind, meant: None } => {
                write!(f, "{kind} of {api_version} is not a kind that is read here")
            }
        }
    }
}

/// Reads a file of manifests. The results are in the order of the documents, and one is as good as if the others were
/// not there.
pub fn read_manifests(text: &str) -> Vec<Result<Manifest, ManifestError>> {
    documents(text).into_iter().filter_map(read).collect()
}

/// Cuts a file into its documents (YAML 1.2.2, section 9.1): a line that begins with `---` begins one, whatever stands
/// around it. Documents of comments and blank lines alone are left out.
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let mut starts = vec![(0, 1)];
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            starts.push((offset, index + 1));
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).map(|(offset, _)| *offset).chain([text.len()]);
    let pieces = starts.iter().zip(ends).map(|(&(start, line), end)| (line, &text[start..end]));
    let with_content = pieces.filter(|(_, text)| text.lines().any(has_content));
    with_content.enumerate().map(|(index, (line, text))| Document { number: index + 1, line, text }).collect()
}

fn has_content(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim();
    !(line.is_empty() || line.starts_with('#') || line == "...")
}

/// Reads one document; `None` where it says nothing, as `null` does.
pub fn read(document: Document<'_>) -> Option<Result<Manifest, ManifestError>> {
    let error = |line, reason| Some(Err(ManifestError { document: document.number, line, reason }));
    let value: Value = match serde_saphyr::from_str(document.text) {
        Ok(Value::Null) => return None,
        Ok(value) => value,
        Err(failure) => {
            let offset = document.line - 1;
            let within = failure.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1).max(1));
            let options = serde_saphyr::render_options! {
                snippets: serde_saphyr::SnippetMode::Off,
                line_offset: u64::try_from(offset).unwrap_or(u64::MAX),
            };
            let reason = failure.render_with_options(options);
            return error(offset + within, ManifestErrorReason::Unreadable(reason));
        }
    };
    match object(&value) {
        Ok(object) => Some(Ok(Manifest { document: document.number, line: document.line, object })),
        Err(reason) => error(document.line, reason),
    }
}

fn object(value: &Value) -> Result<Object, ManifestErrorReason> {
    if !value.is_object() {
        return Err(ManifestErrorReason::NoObject("is not an object; an object begins with apiVersion and kind"));
    }
    let text = |field: &str| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let api_version = text("apiVersion").ok_or(ManifestErrorReason::NoObject("has no apiVersion; check the indentation"))?;
    let kind = text("kind").ok_or(ManifestErrorReason::NoObject("has no kind; check the indentation"))?;
    match (kind, api_version) {
        (federated_service::KIND, federated_service::API_VERSION) => Ok(Object::FederatedService(Box::new(FederatedService::read(value)))),
        (workload_entry::KIND, version) if workload_entry::API_VERSIONS.contains(&version) => {
            Ok(Object::WorkloadEntry(Box::new(WorkloadEntry::read(value))))
        }
        _ => Err(ManifestErrorReason::OtherKind { api_version: api_version.to_owned(), kind: kind.to_owned(), meant: meant(kind) }),
    }
}

fn meant(kind: &str) -> Option<String> {
    let version = match cofide_core::closest(kind, [federated_service::KIND, workload_entry::KIND])? {
        federated_service::KIND => federated_service::API_VERSION,
        _ => workload_entry::API_VERSIONS[0],
    };
    let kind = cofide_core::closest(kind, [federated_service::KIND, workload_entry::KIND])?;
    Some(format!("{kind} of {version}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVICE: &str = "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata: {name: a}\nspec: {}\n";

    fn outcomes(text: &str) -> Vec<String> {
        let outcome = |result| match result {
            Ok(Manifest { document, line, object: Object::FederatedService(read) }) => {
                format!("{document}@{line} service {}/{}", read.object.metadata.namespace, read.object.metadata.name)
            }
            Ok(Manifest { document, line, object: Object::WorkloadEntry(read) }) => {
                format!("{document}@{line} workload {}/{}", read.object.metadata.namespace, read.object.metadata.name)
            }
            Err(error) => ManifestError::to_string(&error),
        };
        read_manifests(text).into_iter().map(outcome).collect()
    }

    #[test]
    fn one_bad_document_does_not_hide_the_others() {
        let text =
            format!("# a comment\n---\n{SERVICE}---\nkind: [unclosed\n---\n---\n# only a comment\n--- # with a remark\n{SERVICE}...\n");
        let outcomes = outcomes(&text);
        assert_eq!(outcomes.len(), 3, "{outcomes:#?}");
        assert_eq!(outcomes[0], "1@2 service default/a");
        assert!(outcomes[1].starts_with("document 2, line "), "{}", outcomes[1]);
        assert_eq!(outcomes[2], "3@12 service default/a");
    }

    #[test]
    fn the_line_of_an_error_is_that_of_the_file() {
        let text = format!("{SERVICE}---\nkind: a\nkind: b\n");
        let outcomes = outcomes(&text);
        assert!(outcomes[1].starts_with("document 2, line 7: ") && outcomes[1].contains("line 7"), "{}", outcomes[1]);
    }

    #[test]
    fn three_dashes_inside_of_a_text_do_not_end_a_document() {
        let text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  key: |\n    ---\n    text\n";
        assert_eq!(outcomes(text), ["document 1, line 1: ConfigMap of v1 is not a kind that is read here"]);
    }

    #[test]
    fn what_is_not_ours_is_told_apart_from_what_was_meant_for_us() {
        assert_eq!(
            outcomes("apiVersion: registry.cofide.io/v1\nkind: FederatedService\n"),
            [
                "document 1, line 1: FederatedService of registry.cofide.io/v1 is not known; did you mean FederatedService of registry.cofide.io/v1alpha1?"
            ]
        );
        assert_eq!(
            outcomes("apiVersion: networking.istio.io/v1\nkind: WorkloadEntrys\n"),
            [
                "document 1, line 1: WorkloadEntrys of networking.istio.io/v1 is not known; did you mean WorkloadEntry of networking.istio.io/v1?"
            ]
        );
        assert_eq!(outcomes("- a\n- b\n"), ["document 1, line 1: is not an object; an object begins with apiVersion and kind"]);
        assert_eq!(outcomes("kind: FederatedService\n"), ["document 1, line 1: has no apiVersion; check the indentation"]);
        assert_eq!(outcomes("~\n"), [""; 0]);
    }

    #[test]
    fn istio_objects_are_read_in_all_their_versions() {
        for version in workload_entry::API_VERSIONS {
            let text = format!(
                "apiVersion: {version}\nkind: WorkloadEntry\nmetadata: {{name: w, namespace: demo}}\nspec: {{address: 10.0.0.1}}\n"
            );
            assert_eq!(outcomes(&text), ["1@1 workload demo/w"]);
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let parent = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![parent; 10].join(", ")));
        }
        assert!(outcomes(&text)[0].contains("cannot be read as YAML"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(---\n|kind: |apiVersion: |spec:\n|  [a-z]{1,4}: |- |\\{|\\[|\"|#|&a |\\*a|\n| |[ -~]{0,6}|\\PC{0,3}){0,60}") {
            read_manifests(&text);
        }

        #[test]
        fn the_documents_are_the_text(text in "(---|---x| ---|a|#|\n|\r\n){0,40}") {
            for document in documents(&text) {
                let before = text.split_inclusive('\n').take(document.line - 1).map(str::len).sum::<usize>();
                prop_assert!(text[before..].starts_with(document.text));
            }
        }
    }
}
