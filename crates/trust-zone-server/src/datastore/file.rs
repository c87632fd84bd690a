//! The form of the content on disk: one JSON document that a person can read.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cofide_bundle_endpoint::Profile;
use cofide_core::{Bundle, JwtAuthority, Selector, SpiffeId, TrustDomain, X509Authority};
use serde::{Deserialize, Serialize};

use super::{Content, Entry, FederationRelationship, parse_bundle_endpoint_url};

/// Raised when the meaning of a field changes.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    trust_domain: String,
    entries: Vec<EntryRecord>,
    bundles: Vec<BundleRecord>,
    federation_relationships: Vec<RelationshipRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryRecord {
    id: String,
    spiffe_id: String,
    parent_id: String,
    selectors: BTreeSet<Selector>,
    federates_with: BTreeSet<String>,
    dns_names: Vec<String>,
    x509_svid_ttl: u32,
    jwt_svid_ttl: u32,
    hint: String,
    admin: bool,
    downstream: bool,
    store_svid: bool,
    expires_at: i64,
    revision_number: i64,
    created_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleRecord {
    trust_domain: String,
    x509_authorities: Vec<X509Record>,
    jwt_authorities: Vec<JwtRecord>,
    refresh_hint: u64,
    sequence_number: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct X509Record {
    /// Base64.
    der: String,
    tainted: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtRecord {
    key_id: String,
    /// Base64.
    public_key: String,
    expires_at: i64,
    tainted: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RelationshipRecord {
    trust_domain: String,
    bundle_endpoint_url: String,
    profile: ProfileRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProfileRecord {
    HttpsWeb {},
    HttpsSpiffe { endpoint_spiffe_id: String },
}

pub(super) fn encode(content: &Content) -> Vec<u8> {
    let document = Document {
        version: VERSION,
        trust_domain: content.trust_domain().to_string(),
        entries: content.api_entries().map(|entry| entry_record(entry)).collect(),
        bundles: content.bundles().map(|bundle| bundle_record(bundle)).collect(),
        federation_relationships: content.relationships().map(|relationship| relationship_record(relationship)).collect(),
    };
    serde_json::to_vec_pretty(&document).expect("strings and numbers are always JSON")
}

/// Reads a document into `content`, which holds the trust domain and the entries of the configuration file already.
pub(super) fn decode(bytes: &[u8], content: &mut Content) -> Result<(), String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("it has version {}, this program reads version {VERSION}", document.version));
    }
    if document.trust_domain != content.trust_domain().as_str() {
        let (found, expected) = (document.trust_domain, content.trust_domain());
        return Err(format!("it belongs to trust domain {found}, this server is of {expected}; use another data folder"));
    }
    for (index, record) in document.bundles.into_iter().enumerate() {
        content.set_bundle(bundle(record).map_err(|reason| format!("bundles[{index}]: {reason}"))?);
    }
    for (index, record) in document.entries.into_iter().enumerate() {
        let entry = entry(content.trust_domain(), record).map_err(|reason| format!("entries[{index}]: {reason}"))?;
        content.put_entry(entry);
    }
    for (index, record) in document.federation_relationships.into_iter().enumerate() {
        content.put_relationship(relationship(&record).map_err(|reason| format!("federation_relationships[{index}]: {reason}"))?);
    }
    Ok(())
}

fn entry_record(entry: &Entry) -> EntryRecord {
    EntryRecord {
        id: entry.id.to_string(),
        spiffe_id: entry.spiffe_id.to_string(),
        parent_id: entry.parent_id.to_string(),
        selectors: entry.selectors.clone(),
        federates_with: entry.federates_with.iter().map(ToString::to_string).collect(),
        dns_names: entry.dns_names.clone(),
        x509_svid_ttl: entry.x509_svid_ttl,
        jwt_svid_ttl: entry.jwt_svid_ttl,
        hint: entry.hint.clone(),
        admin: entry.admin,
        downstream: entry.downstream,
        store_svid: entry.store_svid,
        expires_at: entry.expires_at,
        revision_number: entry.revision_number,
        created_at: entry.created_at,
    }
}

fn entry(trust_domain: &TrustDomain, record: EntryRecord) -> Result<Entry, String> {
    let spiffe_id = spiffe_id(&record.spiffe_id)?;
    // An identity of another trust domain must not come in by way of an edited file either.
    super::workload_id(trust_domain, spiffe_id.path())?;
    if spiffe_id.trust_domain() != trust_domain {
        return Err(format!("{spiffe_id} is not in trust domain {trust_domain}"));
    }
    if record.selectors.is_empty() {
        return Err("it has no selectors".into());
    }
    Ok(Entry {
        id: record.id.parse()?,
        spiffe_id,
        parent_id: self::spiffe_id(&record.parent_id)?,
        selectors: record.selectors,
        federates_with: record.federates_with.iter().map(|name| parse_trust_domain(name)).collect::<Result<_, _>>()?,
        dns_names: record.dns_names,
        x509_svid_ttl: record.x509_svid_ttl,
        jwt_svid_ttl: record.jwt_svid_ttl,
        hint: record.hint,
        admin: record.admin,
        downstream: record.downstream,
        store_svid: record.store_svid,
        expires_at: record.expires_at,
        revision_number: record.revision_number,
        created_at: record.created_at,
    })
}

fn bundle_record(bundle: &Bundle) -> BundleRecord {
    let x509 = |authority: &X509Authority| X509Record { der: STANDARD.encode(&authority.der), tainted: authority.tainted };
    let jwt = |authority: &JwtAuthority| JwtRecord {
        key_id: authority.key_id.clone(),
        public_key: STANDARD.encode(&authority.public_key),
        expires_at: authority.expires_at,
        tainted: authority.tainted,
    };
    BundleRecord {
        trust_domain: bundle.trust_domain.to_string(),
        x509_authorities: bundle.x509_authorities.iter().map(x509).collect(),
        jwt_authorities: bundle.jwt_authorities.iter().map(jwt).collect(),
        refresh_hint: bundle.refresh_hint,
        sequence_number: bundle.sequence_number,
    }
}

fn bundle(record: BundleRecord) -> Result<Bundle, String> {
    let decode = |text: &str| STANDARD.decode(text).map_err(|error| format!("base64: {error}"));
    let x509 = |record: X509Record| Ok(X509Authority { der: decode(&record.der)?, tainted: record.tainted });
    let jwt = |record: JwtRecord| {
        let public_key = decode(&record.public_key)?;
        Ok(JwtAuthority { key_id: record.key_id, public_key, expires_at: record.expires_at, tainted: record.tainted })
    };
    Ok(Bundle {
        trust_domain: parse_trust_domain(&record.trust_domain)?,
        x509_authorities: record.x509_authorities.into_iter().map(x509).collect::<Result<_, String>>()?,
        jwt_authorities: record.jwt_authorities.into_iter().map(jwt).collect::<Result<_, String>>()?,
        refresh_hint: record.refresh_hint,
        sequence_number: record.sequence_number,
    })
}

fn relationship_record(relationship: &FederationRelationship) -> RelationshipRecord {
    RelationshipRecord {
        trust_domain: relationship.trust_domain.to_string(),
        bundle_endpoint_url: relationship.bundle_endpoint_url.to_string(),
        profile: match &relationship.profile {
            Profile::HttpsWeb => ProfileRecord::HttpsWeb {},
            Profile::HttpsSpiffe { endpoint_spiffe_id } => {
                ProfileRecord::HttpsSpiffe { endpoint_spiffe_id: endpoint_spiffe_id.to_string() }
            }
        },
    }
}

fn relationship(record: &RelationshipRecord) -> Result<FederationRelationship, String> {
    Ok(FederationRelationship {
        trust_domain: parse_trust_domain(&record.trust_domain)?,
        bundle_endpoint_url: parse_bundle_endpoint_url(&record.bundle_endpoint_url)?,
        profile: match &record.profile {
            ProfileRecord::HttpsWeb {} => Profile::HttpsWeb,
            ProfileRecord::HttpsSpiffe { endpoint_spiffe_id } => {
                Profile::HttpsSpiffe { endpoint_spiffe_id: spiffe_id(endpoint_spiffe_id)? }
            }
        },
    })
}

fn spiffe_id(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::new(text).map_err(|error| format!("{text:?} is no SPIFFE ID: {error}"))
}

fn parse_trust_domain(name: &str) -> Result<TrustDomain, String> {
    cofide_core::parse_trust_domain(name).map_err(|error| format!("trust domain {name:?}: {error}"))
}
