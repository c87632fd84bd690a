//! What the log says about manifests: a line when something is wrong with one, and a line when it is mended. The status
//! beside the manifest says the rest.

use std::collections::BTreeMap;

use cofide_core::ConditionKind;
use cofide_k8s_api::ConditionStatus;

use super::status_file;
use crate::export::Export;
use crate::export::conditions::Condition;
use crate::view::{ObjectKey, Origin};

/// Where it is, and which object unless no single one is meant.
type Subject = (Origin, Option<ObjectKey>);

/// What is wrong with whom, as it was told last.
#[derive(Debug, Default)]
pub struct Complaints(BTreeMap<Subject, Vec<String>>);

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    Wrong { subject: &'a Subject, reasons: &'a [String] },
    Mended { subject: &'a Subject },
}

impl Complaints {
    /// Tells what has changed since the last time.
    pub fn update(&mut self, exports: &[(&Export, Vec<Condition>)], problems: &BTreeMap<Origin, Vec<String>>) {
        let now = complaints(exports, problems);
        let exists = |(origin, object): &Subject| match (object, origin) {
            (Some(key), _) => exports.iter().any(|(export, _)| export.key == *key),
            (None, Origin::File(file)) => file.exists(),
            (None, Origin::Object { key, .. }) => exports.iter().any(|(export, _)| export.key == *key),
        };
        for news in news(&self.0, &now, exists) {
            news.tell();
        }
        self.0 = now;
    }
}

fn complaints(exports: &[(&Export, Vec<Condition>)], problems: &BTreeMap<Origin, Vec<String>>) -> BTreeMap<Subject, Vec<String>> {
    let of_origins = problems.iter().map(|(origin, problems)| ((origin.clone(), None), problems.clone()));
    let of_objects = exports.iter().filter_map(|(export, conditions)| {
        let accepted = conditions.iter().find(|condition| condition.kind == ConditionKind::Accepted)?;
        let reasons = match export.problems.as_slice() {
            // The mistake is not in the text: another object has the hostname.
            [] => vec![accepted.message.clone()],
            problems => problems.to_vec(),
        };
        (accepted.status == ConditionStatus::False).then(|| ((export.origin.clone(), Some(export.key.clone())), reasons))
    });
    of_origins.chain(of_objects).collect()
}

/// What is gone altogether is mended by nobody.
fn news<'a>(
    before: &'a BTreeMap<Subject, Vec<String>>,
    now: &'a BTreeMap<Subject, Vec<String>>,
    exists: impl Fn(&Subject) -> bool,
) -> Vec<News<'a>> {
    let wrong = now.iter().filter(|(subject, reasons)| before.get(*subject) != Some(reasons));
    let mended = before.keys().filter(|subject| !now.contains_key(*subject) && exists(subject));
    wrong.map(|(subject, reasons)| News::Wrong { subject, reasons }).chain(mended.map(|subject| News::Mended { subject })).collect()
}

impl News<'_> {
    fn tell(&self) {
        let name = |object: &Option<ObjectKey>| object.as_ref().map(ToString::to_string);
        match self {
            Self::Wrong { subject: (origin @ Origin::File(file), object), reasons } => tracing::warn!(
                file = %origin,
                object = name(object),
                reason = reasons.first(),
                more = reasons.len().saturating_sub(1),
                status = %status_file(file).display(),
                "a manifest does not take effect as it is written; its status file says all"
            ),
            Self::Wrong { subject: (origin @ Origin::Object { .. }, _), reasons } => tracing::warn!(
                object = %origin,
                reason = reasons.first(),
                more = reasons.len().saturating_sub(1),
                "an object does not take effect as it is written; its status says all"
            ),
            Self::Mended { subject: (origin @ Origin::Object { .. }, _) } => {
                tracing::info!(object = %origin, "the object takes effect as it is written");
            }
            Self::Mended { subject: (origin, object) } => {
                tracing::info!(file = %origin, object = name(object), "the manifest takes effect as it is written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Kind;

    fn subject(file: &str, name: Option<&str>) -> Subject {
        let key = |name: &str| ObjectKey { kind: Kind::FederatedService, namespace: "demo".to_owned(), name: name.to_owned() };
        (Origin::File(file.into()), name.map(key))
    }

    #[test]
    fn only_a_change_is_news_and_what_was_deleted_is_not_mended() {
        let complaints = |list: &[(Subject, &str)]| -> BTreeMap<Subject, Vec<String>> {
            list.iter().map(|(subject, reason)| (subject.clone(), vec![(*reason).to_owned()])).collect()
        };
        let (one, two, file) = (subject("a.yaml", Some("one")), subject("a.yaml", Some("two")), subject("b.yaml", None));
        let first = complaints(&[(one.clone(), "no port"), (two.clone(), "no port"), (file.clone(), "half a document")]);
        assert_eq!(news(&BTreeMap::new(), &first, |_| true).len(), 3);
        assert_eq!(news(&first, &first, |_| true), []);

        let second = complaints(&[(one.clone(), "port 0")]);
        let expected = [News::Wrong { subject: &one, reasons: &["port 0".to_owned()] }, News::Mended { subject: &file }];
        assert_eq!(news(&first, &second, |subject| *subject != two), expected);
    }
}
