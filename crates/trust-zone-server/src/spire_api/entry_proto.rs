//! Entries to and from SPIRE's messages.

use cofide_api::spire::types as api;
use cofide_core::{Hostname, SpiffeId, TrustDomain};

use super::trust_domain_argument;
use crate::datastore::{Entry, EntryId, MAX_HINT_LENGTH, check_selector, member_id, workload_id};

/// All fields.
pub(super) const ALL: api::EntryMask = api::EntryMask {
    spiffe_id: true,
    parent_id: true,
    selectors: true,
    x509_svid_ttl: true,
    federates_with: true,
    admin: true,
    downstream: true,
    expires_at: true,
    dns_names: true,
    revision_number: true,
    store_svid: true,
    jwt_svid_ttl: true,
    hint: true,
    created_at: true,
};

/// The masked fields of `from`, the others of `base`. The id is that of `base`.
pub(super) fn overlay(base: api::Entry, from: api::Entry, mask: &api::EntryMask) -> api::Entry {
    macro_rules! overlay {
        ($($field:ident),*) => {
            api::Entry { id: base.id, $($field: if mask.$field { from.$field } else { base.$field }),* }
        };
    }
    overlay!(
        spiffe_id,
        parent_id,
        selectors,
        x509_svid_ttl,
        federates_with,
        admin,
        downstream,
        expires_at,
        dns_names,
        revision_number,
        store_svid,
        jwt_svid_ttl,
        hint,
        created_at
    )
}

/// The message of an entry, reduced to the masked fields and its id.
pub(super) fn masked(entry: &Entry, mask: Option<&api::EntryMask>) -> api::Entry {
    let message = to_proto(entry);
    match mask {
        Some(mask) => overlay(api::Entry { id: message.id.clone(), ..api::Entry::default() }, message, mask),
        None => message,
    }
}

pub(super) fn to_proto(entry: &Entry) -> api::Entry {
    let ttl = |seconds: u32| i32::try_from(seconds).unwrap_or(i32::MAX);
    api::Entry {
        id: entry.id.to_string(),
        spiffe_id: Some(id_to_proto(&entry.spiffe_id)),
        parent_id: Some(id_to_proto(&entry.parent_id)),
        selectors: entry
            .selectors
            .iter()
            .map(|selector| api::Selector { r#type: selector.kind.clone(), value: selector.value.clone() })
            .collect(),
        x509_svid_ttl: ttl(entry.x509_svid_ttl),
        federates_with: entry.federates_with.iter().map(ToString::to_string).collect(),
        admin: entry.admin,
        downstream: entry.downstream,
        expires_at: entry.expires_at,
        dns_names: entry.dns_names.clone(),
        revision_number: entry.revision_number,
        store_svid: entry.store_svid,
        jwt_svid_ttl: ttl(entry.jwt_svid_ttl),
        hint: entry.hint.clone(),
        created_at: entry.created_at,
    }
}

fn id_to_proto(id: &SpiffeId) -> api::Spiffeid {
    api::Spiffeid { trust_domain: id.trust_domain().to_string(), path: id.path().to_owned() }
}

/// Reads a whole entry. An empty id makes a new one; the revision number and the time of creation are the server's.
pub(super) fn from_proto(trust_domain: &TrustDomain, message: &api::Entry) -> Result<Entry, String> {
    let parent = |path: &str| member_id(trust_domain, path);
    let workload = |path: &str| workload_id(trust_domain, path);
    let parent_id =
        id_from_proto(trust_domain, message.parent_id.as_ref(), parent).map_err(|reason| format!("invalid parent ID: {reason}"))?;
    let spiffe_id =
        id_from_proto(trust_domain, message.spiffe_id.as_ref(), workload).map_err(|reason| format!("invalid spiffe ID: {reason}"))?;
    for name in &message.dns_names {
        name.parse::<Hostname>().map_err(|error| format!("invalid DNS name: {name:?} {error}"))?;
    }
    let federates_with = message.federates_with.iter().map(|name| trust_domain_argument(name)).collect::<Result<_, _>>();
    if message.selectors.is_empty() {
        return Err("selector list is empty".into());
    }
    if message.store_svid && message.selectors.windows(2).any(|pair| pair[0].r#type != pair[1].r#type) {
        return Err("selector types must be the same when store SVID is enabled".into());
    }
    if message.hint.len() > MAX_HINT_LENGTH {
        return Err(format!("hint is too long, max length is {MAX_HINT_LENGTH} characters"));
    }
    let ttl = |field: &str, seconds: i32| u32::try_from(seconds).map_err(|_| format!("{field} must not be negative"));
    Ok(Entry {
        id: if message.id.is_empty() { EntryId::random() } else { message.id.parse()? },
        spiffe_id,
        parent_id,
        selectors: message.selectors.iter().map(|selector| check_selector(&selector.r#type, &selector.value)).collect::<Result<_, _>>()?,
        federates_with: federates_with.map_err(|reason| format!("invalid federated trust domain: {reason}"))?,
        dns_names: message.dns_names.clone(),
        x509_svid_ttl: ttl("x509_svid_ttl", message.x509_svid_ttl)?,
        jwt_svid_ttl: ttl("jwt_svid_ttl", message.jwt_svid_ttl)?,
        hint: message.hint.clone(),
        admin: message.admin,
        downstream: message.downstream,
        store_svid: message.store_svid,
        expires_at: message.expires_at,
        revision_number: 0,
        created_at: 0,
    })
}

/// Reads an ID that `check` makes of its path.
pub(super) fn id_from_proto(
    trust_domain: &TrustDomain,
    message: Option<&api::Spiffeid>,
    check: impl Fn(&str) -> Result<SpiffeId, String>,
) -> Result<SpiffeId, String> {
    let message = message.ok_or("request must specify SPIFFE ID")?;
    let found = trust_domain_argument(&message.trust_domain)?;
    if found != *trust_domain {
        return Err(format!("\"spiffe://{found}{}\" is not a member of trust domain \"{trust_domain}\"", message.path));
    }
    check(&message.path)
}
