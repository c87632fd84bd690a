//! Istio's MeshConfig, as the text that the mesh's ConfigMap holds of it. Pure.

use std::collections::BTreeSet;

use cofide_core::TrustDomain;
use serde_json::{Map, Value, json};

pub const TRUST_DOMAIN: &str = "trustDomain";
pub const ALIASES: &str = "trustDomainAliases";
pub const CA_CERTIFICATES: &str = "caCertificates";
const TRUST_DOMAINS: &str = "trustDomains";

/// What matters of a MeshConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshConfig {
    pub trust_domain: Option<String>,
    pub aliases: Vec<String>,
    /// The trust domains that `caCertificates` are for. Sidecars take certificates of these too, beside what verifies them.
    pub accepted: BTreeSet<String>,
}

/// What the agent is to keep in a MeshConfig.
///
/// The trust domains are written as an entry of `caCertificates` without a certificate: Istio's sidecars take certificates of these at
/// the handshake then, and what they are verified with still comes over SDS. No authority is given to proxies that get their roots
/// from istiod, and no rule about the mesh's own trust domain is widened, as an alias would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    pub trust_domain: TrustDomain,
    /// Trust domains that sidecars are to accept; absent where `caCertificates` are to be left alone.
    pub accepted: Option<BTreeSet<TrustDomain>>,
    /// Those that the agent has added earlier.
    pub added_before: BTreeSet<String>,
}

/// A text that says what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    pub text: String,
    /// The trust domains in it that the agent has added.
    pub added: BTreeSet<String>,
    /// The keys that differ, with their values before and now.
    pub changes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is not a map in YAML: {0}")]
    NotAMap(String),
    #[error("{0} is written in a form that the agent does not edit; write it as a line of its own")]
    NotEditable(String),
}

fn parse(text: &str) -> Result<Map<String, Value>, Unusable> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Unusable::NotAMap("it is a single value or a list".to_owned())),
        Err(error) => Err(Unusable::NotAMap(error.to_string())),
    }
}

fn strings(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

impl MeshConfig {
    /// # Errors
    ///
    /// When the text is not YAML, or not a map.
    pub fn read(text: &str) -> Result<Self, Unusable> {
        Ok(Self::of(&parse(text)?))
    }

    fn of(map: &Map<String, Value>) -> Self {
        let list = |key: &str| map.get(key).cloned().unwrap_or_default();
        let certificates = list(CA_CERTIFICATES);
        let accepted = certificates.as_array().into_iter().flatten().flat_map(|entry| strings(&entry[TRUST_DOMAINS]));
        Self {
            trust_domain: map.get(TRUST_DOMAIN).and_then(Value::as_str).map(str::to_owned),
            aliases: strings(&list(ALIASES)).collect(),
            accepted: accepted.collect(),
        }
    }
}

/// The text with what is to be kept in it. Everything else means what it meant before, and where it can, it reads so too; `None` where
/// nothing is to be changed.
///
/// # Errors
///
/// As [`MeshConfig::read`], and when the text cannot be changed without writing all of it anew.
pub fn edit(text: &str, managed: &Managed) -> Result<Option<Edited>, Unusable> {
    let before = parse(text)?;
    let mut wanted = before.clone();
    wanted.insert(TRUST_DOMAIN.to_owned(), managed.trust_domain.to_string().into());
    let added = match &managed.accepted {
        Some(accepted) => accept(&mut wanted, accepted, &managed.added_before),
        None => managed.added_before.clone(),
    };
    let changed: Vec<_> = [TRUST_DOMAIN, CA_CERTIFICATES].into_iter().filter(|key| before.get(*key) != wanted.get(*key)).collect();
    if changed.is_empty() && added == managed.added_before {
        return Ok(None);
    }
    let mut edited = text.to_owned();
    for key in &changed {
        edited = with_key(&edited, key, wanted.get(*key));
    }
    if parse(&edited).as_ref() != Ok(&wanted) {
        // JSON has one meaning, however it is written. Other YAML has more than one among its readers: `yes` is a flag to some.
        if serde_json::from_str::<Value>(text).is_err() {
            return Err(Unusable::NotEditable(changed.join(", ")));
        }
        edited = format!("{:#}\n", Value::Object(wanted.clone()));
    }
    let value = |map: &Map<String, Value>, key: &str| map.get(key).map_or_else(|| "not set".to_owned(), shown);
    let changes = changed.iter().map(|key| format!("{key} (was {}, is {})", value(&before, key), value(&wanted, key))).collect();
    Ok(Some(Edited { text: edited, added, changes }))
}

/// Short enough for a log: certificates are left out.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(entries) => {
            let domains: Vec<_> = entries.iter().flat_map(|entry| strings(&entry[TRUST_DOMAINS])).collect();
            format!("{} entries for the trust domains [{}]", entries.len(), domains.join(", "))
        }
        value => value.to_string(),
    }
}

/// Answers which trust domains are there for the agent's sake.
fn accept(config: &mut Map<String, Value>, wanted: &BTreeSet<TrustDomain>, added_before: &BTreeSet<String>) -> BTreeSet<String> {
    let mut entries = match config.get(CA_CERTIFICATES) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(entries)) => entries.clone(),
        // Whatever that is, istiod does not take it either.
        Some(_) => return added_before.clone(),
    };
    let is_ours = |entry: &Value| entry.as_object().is_some_and(|entry| entry.len() == 1 && entry.contains_key(TRUST_DOMAINS));
    let position = entries.iter().position(is_ours);
    let held: BTreeSet<_> = position.map(|position| strings(&entries[position][TRUST_DOMAINS]).collect()).unwrap_or_default();
    let elsewhere = entries.iter().enumerate().filter(|(index, _)| Some(*index) != position);
    let elsewhere: BTreeSet<_> = elsewhere.flat_map(|(_, entry)| strings(&entry[TRUST_DOMAINS])).collect();
    // What somebody else has written there stays.
    let theirs: BTreeSet<_> = held.difference(added_before).cloned().collect();
    let ours: BTreeSet<_> =
        wanted.iter().map(ToString::to_string).filter(|domain| !elsewhere.contains(domain) && !theirs.contains(domain)).collect();
    let all: BTreeSet<_> = theirs.union(&ours).collect();
    if held.iter().eq(all.iter().copied()) {
        return ours;
    }
    let entry = json!({ TRUST_DOMAINS: all });
    match position {
        Some(position) if all.is_empty() => drop(entries.remove(position)),
        Some(position) => entries[position] = entry,
        None => entries.push(entry),
    }
    match entries.is_empty() {
        true => drop(config.remove(CA_CERTIFICATES)),
        false => drop(config.insert(CA_CERTIFICATES.to_owned(), entries.into())),
    }
    ours
}

/// The text with one key of the outermost map replaced by a line, taken out, or added at the end. Whether that came out right is for
/// the caller to see.
fn with_key(text: &str, key: &str, value: Option<&Value>) -> String {
    // JSON is YAML.
    let line = value.map(|value| format!("{key}: {value}\n"));
    let names = [key.to_owned(), format!("\"{key}\""), format!("'{key}'")];
    let begins =
        |line: &&str| names.iter().any(|name| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.trim_start().starts_with(':')));
    let is_continued = |line: &&str| line.starts_with([' ', '\t', '-']) || line.trim().is_empty();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let Some(start) = lines.iter().position(begins) else {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return format!("{text}{gap}{}", line.unwrap_or_default());
    };
    let mut end = start + 1 + lines[start + 1..].iter().take_while(|line| is_continued(line)).count();
    // Empty lines belong to what comes next.
    while end > start + 1 && lines[end - 1].trim().is_empty() {
        end -= 1;
    }
    [lines[..start].concat(), line.unwrap_or_default(), lines[end..].concat()].concat()
}

#[cfg(test)]
#[path = "mesh_config_tests.rs"]
mod tests;
