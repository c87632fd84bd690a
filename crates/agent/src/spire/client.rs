//! The SPIRE server APIs on the server's Unix socket: read everything, change one kind of thing at a time.
//!
//! Each change answers per item, as SPIRE does: one bad entry does not fail its neighbours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cofide_api::convert;
use cofide_api::spire::server::bundle::bundle_client::BundleClient;
use cofide_api::spire::server::entry::entry_client::EntryClient;
use cofide_api::spire::server::trustdomain::trust_domain_client::TrustDomainClient;
use cofide_api::spire::server::{bundle, entry, trustdomain};
use cofide_api::spire::types;
use cofide_core::{Bundle, Selector, TrustDomain};
use cofide_runtime::Chain;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::diff::{EntryChange, TrustChange};
use super::model::{Entry, EntryContent, EntryKey, Relationship, RelationshipProfile, State};

const PAGE: i32 = 500;
/// Entries per call. Each is a transaction of its own in SPIRE's database, so a slow disk must get through as many within
/// [`TIMEOUT`].
const BATCH: usize = 50;
/// A server that has much to do is better waited for than asked again.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum SpireError {
    #[error(
        "cannot reach the SPIRE server API at {socket}: {reason}; check that the trust zone's server runs and that spire_server_socket \
         names its API socket"
    )]
    Unreachable { socket: PathBuf, reason: String },
    #[error("{what} was refused by the SPIRE server: {status}")]
    Refused { what: &'static str, status: String },
    #[error("{what}: the SPIRE server answered {found} results for {sent} items")]
    Answer { what: &'static str, sent: usize, found: usize },
    #[error(
        "the SPIRE server at {socket} is for trust domain {found}, and this agent is for {expected}; nothing in it was touched; correct \
         spire_server_socket"
    )]
    OtherTrustDomain { socket: PathBuf, expected: TrustDomain, found: TrustDomain },
}

/// What became of one item of a batch.
pub type ItemResult = Result<(), Status>;

/// What became of one entry of a batch: its id in the server, or why not.
pub type EntryResult = Result<String, Status>;

/// What the agent wants to know of an entry.
const ENTRY: types::EntryMask = types::EntryMask {
    spiffe_id: true,
    parent_id: true,
    selectors: true,
    federates_with: true,
    dns_names: true,
    store_svid: true,
    hint: true,
    x509_svid_ttl: false,
    jwt_svid_ttl: false,
    admin: false,
    downstream: false,
    expires_at: false,
    revision_number: false,
    created_at: false,
};

#[derive(Clone, Debug)]
pub struct SpireClient {
    socket: Arc<Path>,
    channel: Channel,
}

impl SpireClient {
    /// Connects with the first call, and again whenever the connection was lost.
    pub fn new(socket: &Path) -> Self {
        let path: Arc<Path> = socket.into();
        let target = path.clone();
        // The address is never used: the connector ignores it and dials the socket.
        let channel = Endpoint::from_static("http://spire-server.invalid").timeout(TIMEOUT).connect_with_connector_lazy(tower::service_fn(
            move |_: Uri| {
                let target = target.clone();
                async move { UnixStream::connect(&target).await.map(TokioIo::new) }
            },
        ));
        Self { socket: path, channel }
    }

    /// Whether there is such a socket, whoever listens on it.
    pub fn has_socket(&self) -> bool {
        self.socket.exists()
    }

    fn error(&self, what: &'static str) -> impl Fn(Status) -> SpireError {
        let socket = self.socket.to_path_buf();
        move |status| match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => {
                SpireError::Unreachable { socket: socket.clone(), reason: reason_of(&status) }
            }
            _ => SpireError::Refused { what, status: reason_of(&status) },
        }
    }

    /// The trust zone's own bundle.
    pub async fn own_bundle(&self) -> Result<Bundle, SpireError> {
        let what = "reading the trust zone's bundle";
        let request = bundle::GetBundleRequest::default();
        let answer = BundleClient::new(self.channel.clone()).get_bundle(request).await.map_err(self.error(what))?;
        let invalid = |error: convert::FieldError| SpireError::Refused { what, status: format!("the answer is not a bundle: {error}") };
        Bundle::try_from(answer.into_inner()).map_err(invalid)
    }

    /// The trust zone's own bundle, of a server of this trust domain.
    ///
    /// # Errors
    ///
    /// Also where the server is one of another trust domain: whatever was done there would be done to somebody else.
    pub async fn bundle_of(&self, trust_domain: &TrustDomain) -> Result<Bundle, SpireError> {
        let bundle = self.own_bundle().await?;
        match bundle.trust_domain == *trust_domain {
            true => Ok(bundle),
            false => Err(SpireError::OtherTrustDomain {
                socket: self.socket.to_path_buf(),
                expected: trust_domain.clone(),
                found: bundle.trust_domain,
            }),
        }
    }

    /// Everything in the server that the agent cares for. All of it or an error: half a reading would look like deletions.
    pub async fn read(&self) -> Result<State, SpireError> {
        let entries = self.entries().await?;
        Ok(State { entries, ..self.read_trust().await? })
    }

    /// As [`Self::read`], without the entries, which may be many.
    pub async fn read_trust(&self) -> Result<State, SpireError> {
        Ok(State { entries: Vec::new(), relationships: self.relationships().await?, bundles: self.bundles().await? })
    }

    /// All entries, page by page.
    pub async fn entries(&self) -> Result<Vec<Entry>, SpireError> {
        let mut client = EntryClient::new(self.channel.clone());
        let mut entries = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = entry::ListEntriesRequest { page_size: PAGE, page_token, output_mask: Some(ENTRY), ..Default::default() };
            let page = client.list_entries(request).await.map_err(self.error("listing entries"))?.into_inner();
            entries.extend(page.entries.into_iter().map(from_entry));
            if page.next_page_token.is_empty() {
                return Ok(entries);
            }
            page_token = page.next_page_token;
        }
    }

    async fn relationships(&self) -> Result<BTreeMap<TrustDomain, Relationship>, SpireError> {
        let mut client = TrustDomainClient::new(self.channel.clone());
        let mut relationships = BTreeMap::new();
        let mut page_token = String::new();
        loop {
            let request = trustdomain::ListFederationRelationshipsRequest { page_size: PAGE, page_token, ..Default::default() };
            let what = self.error("listing federation relationships");
            let page = client.list_federation_relationships(request).await.map_err(what)?.into_inner();
            relationships.extend(page.federation_relationships.into_iter().filter_map(from_relationship));
            if page.next_page_token.is_empty() {
                return Ok(relationships);
            }
            page_token = page.next_page_token;
        }
    }

    /// The bundles of other trust domains.
    pub async fn bundles(&self) -> Result<BTreeMap<TrustDomain, Bundle>, SpireError> {
        let mut client = BundleClient::new(self.channel.clone());
        let mut bundles = BTreeMap::new();
        let mut page_token = String::new();
        loop {
            let request = bundle::ListFederatedBundlesRequest { page_size: PAGE, page_token, ..Default::default() };
            let page = client.list_federated_bundles(request).await.map_err(self.error("listing federated bundles"))?.into_inner();
            for found in page.bundles {
                let name = found.trust_domain.clone();
                match Bundle::try_from(found) {
                    Ok(bundle) => {
                        bundles.insert(bundle.trust_domain.clone(), bundle);
                    }
                    // It is there, whatever is in it: an entry may refer to it, and a good bundle may replace it.
                    Err(error) => {
                        tracing::warn!(trust_domain = name, %error, "the SPIRE server holds a federated bundle that cannot be read");
                        bundles.extend(TrustDomain::new(&name).ok().map(|domain| (domain.clone(), Bundle::empty(domain))));
                    }
                }
            }
            if page.next_page_token.is_empty() {
                return Ok(bundles);
            }
            page_token = page.next_page_token;
        }
    }

    /// `Ok(Err(..))` is the server's answer about this item; `Err(..)` means that there was no answer.
    pub async fn change_trust(&self, change: &TrustChange) -> Result<ItemResult, SpireError> {
        match change {
            TrustChange::SetBundle(bundle) => {
                let what = "setting a federated bundle";
                let request = bundle::BatchSetFederatedBundleRequest { bundle: vec![bundle.clone().into()], output_mask: None };
                let answer = BundleClient::new(self.channel.clone()).batch_set_federated_bundle(request).await;
                let results = answer.map_err(self.error(what))?.into_inner().results;
                single(what, results.into_iter().map(|result| result.status))
            }
            TrustChange::CreateRelationship(relationship) => {
                let what = "creating a federation relationship";
                let federation_relationships = vec![to_relationship(relationship)];
                let request = trustdomain::BatchCreateFederationRelationshipRequest { federation_relationships, output_mask: None };
                let answer = TrustDomainClient::new(self.channel.clone()).batch_create_federation_relationship(request).await;
                let results = answer.map_err(self.error(what))?.into_inner().results;
                single(what, results.into_iter().map(|result| result.status))
            }
            TrustChange::UpdateRelationship(relationship) => {
                let what = "updating a federation relationship";
                let mask = types::FederationRelationshipMask {
                    bundle_endpoint_url: true,
                    bundle_endpoint_profile: true,
                    trust_domain_bundle: false,
                };
                let request = trustdomain::BatchUpdateFederationRelationshipRequest {
                    federation_relationships: vec![to_relationship(relationship)],
                    input_mask: Some(mask),
                    output_mask: None,
                };
                let answer = TrustDomainClient::new(self.channel.clone()).batch_update_federation_relationship(request).await;
                let results = answer.map_err(self.error(what))?.into_inner().results;
                single(what, results.into_iter().map(|result| result.status))
            }
        }
    }

    /// An item that is gone already counts as removed.
    pub async fn delete_relationship(&self, trust_domain: &TrustDomain) -> Result<ItemResult, SpireError> {
        let what = "deleting a federation relationship";
        let request = trustdomain::BatchDeleteFederationRelationshipRequest { trust_domains: vec![trust_domain.to_string()] };
        let answer = TrustDomainClient::new(self.channel.clone()).batch_delete_federation_relationship(request).await;
        let results = answer.map_err(self.error(what))?.into_inner().results;
        single(what, results.into_iter().map(|result| result.status)).map(gone_is_done)
    }

    /// Refused by the server while an entry still names the domain. An item that is gone already counts as removed.
    pub async fn delete_bundle(&self, trust_domain: &TrustDomain) -> Result<ItemResult, SpireError> {
        let what = "deleting a federated bundle";
        let request = bundle::BatchDeleteFederatedBundleRequest {
            trust_domains: vec![trust_domain.to_string()],
            mode: bundle::batch_delete_federated_bundle_request::Mode::Restrict.into(),
        };
        let answer = BundleClient::new(self.channel.clone()).batch_delete_federated_bundle(request).await;
        let results = answer.map_err(self.error(what))?.into_inner().results;
        single(what, results.into_iter().map(|result| result.status)).map(gone_is_done)
    }

    /// One result for each of `changes`, in their order.
    pub async fn change_entries(&self, changes: &[EntryChange]) -> Result<Vec<EntryResult>, SpireError> {
        let mut results = Vec::with_capacity(changes.len());
        // The order of kinds (create, update, delete) is the diff's; runs of one kind go in batches.
        for run in changes.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)) {
            for batch in run.chunks(BATCH) {
                results.extend(self.change_entry_batch(batch).await?);
            }
        }
        Ok(results)
    }

    async fn change_entry_batch(&self, batch: &[EntryChange]) -> Result<Vec<EntryResult>, SpireError> {
        /// The id comes in any case.
        const NOTHING_ELSE: Option<types::EntryMask> = Some(types::EntryMask {
            spiffe_id: false,
            parent_id: false,
            selectors: false,
            federates_with: false,
            dns_names: false,
            store_svid: false,
            hint: false,
            ..ENTRY
        });
        let mut client = EntryClient::new(self.channel.clone());
        let mut created = Vec::new();
        let mut updated = Vec::new();
        let mut deleted = Vec::new();
        for change in batch {
            match change {
                EntryChange::Create { key, content, .. } => created.push(to_entry(Some(key), content)),
                EntryChange::Update { id, content, .. } => updated.push(types::Entry { id: id.clone(), ..to_entry(None, content) }),
                EntryChange::Delete { id, .. } => deleted.push(id.clone()),
            }
        }
        if !created.is_empty() {
            let what = "creating entries";
            let request = entry::BatchCreateEntryRequest { entries: created, output_mask: NOTHING_ELSE };
            let results = client.batch_create_entry(request).await.map_err(self.error(what))?.into_inner().results;
            return all(what, batch.len(), results.into_iter().map(|result| (result.status, id_of(result.entry))));
        }
        if !updated.is_empty() {
            let what = "updating entries";
            let mask = types::EntryMask { federates_with: true, dns_names: true, store_svid: true, hint: true, ..Default::default() };
            let request = entry::BatchUpdateEntryRequest { entries: updated, input_mask: Some(mask), output_mask: NOTHING_ELSE };
            let results = client.batch_update_entry(request).await.map_err(self.error(what))?.into_inner().results;
            return all(what, batch.len(), results.into_iter().map(|result| (result.status, id_of(result.entry))));
        }
        let what = "deleting entries";
        let request = entry::BatchDeleteEntryRequest { ids: deleted.clone() };
        let results = client.batch_delete_entry(request).await.map_err(self.error(what))?.into_inner().results;
        let results = all(what, batch.len(), results.into_iter().map(|result| (result.status, ())))?;
        Ok(results.into_iter().zip(deleted).map(|(result, id)| gone_is_done(result).map(|()| id)).collect())
    }
}

fn id_of(entry: Option<types::Entry>) -> String {
    entry.map(|entry| entry.id).unwrap_or_default()
}

/// tonic hides why a connection failed one level down.
fn reason_of(status: &Status) -> String {
    Chain(status).after(format!("{:?}: {}", status.code(), status.message()))
}

fn item<T>((status, answer): (Option<types::Status>, T)) -> Result<T, Status> {
    match status {
        None => Ok(answer),
        Some(status) if status.code == Code::Ok as i32 => Ok(answer),
        Some(status) => Err(Status::new(Code::from(status.code), status.message)),
    }
}

fn gone_is_done(result: ItemResult) -> ItemResult {
    result.or_else(|status| if status.code() == Code::NotFound { Ok(()) } else { Err(status) })
}

fn all<T>(
    what: &'static str,
    sent: usize,
    results: impl ExactSizeIterator<Item = (Option<types::Status>, T)>,
) -> Result<Vec<Result<T, Status>>, SpireError> {
    match results.len() {
        found if found == sent => Ok(results.map(item).collect()),
        found => Err(SpireError::Answer { what, sent, found }),
    }
}

fn single(what: &'static str, statuses: impl ExactSizeIterator<Item = Option<types::Status>>) -> Result<ItemResult, SpireError> {
    Ok(all(what, 1, statuses.map(|status| (status, ())))?.remove(0))
}

fn id_text(id: Option<types::Spiffeid>) -> String {
    id.map(|id| format!("spiffe://{}{}", id.trust_domain, id.path)).unwrap_or_default()
}

fn to_id(id: &str) -> types::Spiffeid {
    let rest = id.strip_prefix("spiffe://").unwrap_or(id);
    let (trust_domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    types::Spiffeid { trust_domain: trust_domain.to_owned(), path: path.to_owned() }
}

fn from_entry(entry: types::Entry) -> Entry {
    let selectors = entry.selectors.into_iter().map(|selector| Selector { kind: selector.r#type, value: selector.value }).collect();
    Entry {
        id: entry.id,
        key: EntryKey { spiffe_id: id_text(entry.spiffe_id), parent_id: id_text(entry.parent_id), selectors },
        content: EntryContent {
            dns_names: entry.dns_names,
            federates_with: entry.federates_with.iter().filter_map(|name| TrustDomain::new(name).ok()).collect(),
            store_svid: entry.store_svid,
            hint: entry.hint,
        },
    }
}

fn to_entry(key: Option<&EntryKey>, content: &EntryContent) -> types::Entry {
    let selector = |selector: &Selector| types::Selector { r#type: selector.kind.clone(), value: selector.value.clone() };
    types::Entry {
        spiffe_id: key.map(|key| to_id(&key.spiffe_id)),
        parent_id: key.map(|key| to_id(&key.parent_id)),
        selectors: key.map(|key| key.selectors.iter().map(selector).collect()).unwrap_or_default(),
        federates_with: content.federates_with.iter().map(ToString::to_string).collect(),
        dns_names: content.dns_names.clone(),
        store_svid: content.store_svid,
        hint: content.hint.clone(),
        ..Default::default()
    }
}

fn from_relationship(relationship: types::FederationRelationship) -> Option<(TrustDomain, Relationship)> {
    use types::federation_relationship::BundleEndpointProfile;
    let trust_domain = TrustDomain::new(&relationship.trust_domain).ok()?;
    let profile = match relationship.bundle_endpoint_profile {
        Some(BundleEndpointProfile::HttpsSpiffe(profile)) => {
            RelationshipProfile::HttpsSpiffe { endpoint_spiffe_id: profile.endpoint_spiffe_id }
        }
        Some(BundleEndpointProfile::HttpsWeb(_)) | None => RelationshipProfile::HttpsWeb,
    };
    Some((trust_domain.clone(), Relationship { trust_domain, endpoint_url: relationship.bundle_endpoint_url, profile }))
}

fn to_relationship(relationship: &Relationship) -> types::FederationRelationship {
    use types::federation_relationship::BundleEndpointProfile;
    let profile = match &relationship.profile {
        RelationshipProfile::HttpsWeb => BundleEndpointProfile::HttpsWeb(types::HttpsWebProfile {}),
        RelationshipProfile::HttpsSpiffe { endpoint_spiffe_id } => {
            BundleEndpointProfile::HttpsSpiffe(types::HttpsspiffeProfile { endpoint_spiffe_id: endpoint_spiffe_id.clone() })
        }
    };
    types::FederationRelationship {
        trust_domain: relationship.trust_domain.to_string(),
        bundle_endpoint_url: relationship.endpoint_url.clone(),
        bundle_endpoint_profile: Some(profile),
        trust_domain_bundle: None,
    }
}
