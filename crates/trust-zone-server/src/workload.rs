//! What a workload is entitled to, and when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofide_core::{Bundle, Selector, TrustDomain, X509Authority};
use cofide_svid::X509Svid;
use cofide_svid::authority::IssueError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::attestation::{self, AttestationError, Attestor, Peer};
use crate::authority::{Authorities, Authority};
use crate::datastore::{Content, Datastore, Entry};
use crate::issuer::Issuer;
use crate::unmatched::Unmatched;

/// Timers stand still while a laptop sleeps; the wall clock that SVIDs end by does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// All that one workload receives at one moment.
#[derive(Clone, Debug)]
pub struct WorkloadUpdate {
    /// The first one is the default.
    pub identities: Vec<Identity>,
    pub bundle: Arc<Bundle>,
    /// Only those that the workload's own entries federate with, and of these only those that are held.
    pub federated_bundles: BTreeMap<TrustDomain, Arc<Bundle>>,
}

/// The authorities of a bundle as far as every reader of X.509 can read them.
///
/// Nothing else is let in; should it have come in all the same (an older version let more pass), it costs its own trust
/// domain this authority, and not all of them their trust: Envoy and go-spiffe refuse a whole answer for one certificate.
pub(crate) fn readable_authorities(bundle: &Bundle) -> Vec<&X509Authority> {
    let is_readable = |authority: &&X509Authority| match authority.check() {
        Ok(()) => true,
        Err(reason) => {
            let trust_domain = bundle.trust_domain.as_str();
            tracing::warn!(trust_domain, %reason, "leaving out an X.509 authority that workloads could not read");
            false
        }
    };
    bundle.x509_authorities.iter().filter(is_readable).collect()
}

#[derive(Clone, Debug)]
pub struct Identity {
    pub entry: Arc<Entry>,
    pub svid: Arc<X509Svid>,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    #[error(transparent)]
    Attestation(#[from] AttestationError),
    #[error("cannot issue an SVID: {0}")]
    Issue(#[from] IssueError),
    #[error("the server is stopping")]
    Stopping,
}

/// Answers for workloads. Clones share everything.
#[derive(Clone, Debug)]
pub struct Workloads {
    datastore: Datastore,
    authority: Authority,
    issuer: Arc<Issuer>,
    attestor: Arc<Attestor>,
    unmatched: Arc<Unmatched>,
    shutdown: CancellationToken,
}

impl Workloads {
    pub fn new(
        datastore: Datastore,
        authority: Authority,
        issuer: Arc<Issuer>,
        attestor: Arc<Attestor>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { datastore, authority, issuer, attestor, unmatched: Arc::default(), shutdown }
    }

    pub fn trust_domain(&self) -> TrustDomain {
        self.authority.trust_domain()
    }

    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The entries that the peer matches at this moment, where it asks for what they give.
    pub async fn entries(&self, peer: &Peer) -> Result<Vec<Arc<Entry>>, WorkloadError> {
        let (selectors, entries) = self.matching(peer).await?;
        self.note(peer, &selectors, !entries.is_empty());
        Ok(entries)
    }

    async fn matching(&self, peer: &Peer) -> Result<(BTreeSet<Selector>, Vec<Arc<Entry>>), WorkloadError> {
        let content = self.datastore.read();
        let selectors = self.selectors(peer, &content).await?;
        let entries = content.matching(&selectors, SystemTime::now().into());
        Ok((selectors, entries))
    }

    fn note(&self, peer: &Peer, selectors: &BTreeSet<Selector>, is_matched: bool) {
        if is_matched {
            self.unmatched.matched(selectors);
        } else {
            self.unmatched.note(&self.trust_domain(), peer.pid(), selectors);
        }
    }

    /// The bundles that the peer may verify others with at this moment. A process without an entry has that of the
    /// server's own trust domain.
    pub async fn bundles(&self, peer: &Peer) -> Result<cofide_svid::BundleSet, WorkloadError> {
        let (_, entries) = self.matching(peer).await?;
        let content = self.datastore.read();
        let federated = federated_bundles(&content, &entries);
        let own = self.authority.read().bundle.clone();
        Ok(federated.into_values().chain([own]).map(|bundle| bundle.as_ref().clone()).collect())
    }

    /// Attests the peer once, for as long as the watch lives.
    pub async fn watch(&self, peer: &Peer) -> Result<WorkloadWatch, WorkloadError> {
        let (content, authorities) = (self.datastore.subscribe(), self.authority.subscribe());
        let snapshot = self.datastore.read();
        let attests_digest = asks_for_digest(&snapshot);
        let selectors = self.selectors(peer, &snapshot).await?;
        Ok(WorkloadWatch {
            workloads: self.clone(),
            peer: peer.clone(),
            selectors,
            attests_digest,
            content,
            authorities,
            look_again_at: None,
        })
    }

    async fn selectors(&self, peer: &Peer, content: &Content) -> Result<BTreeSet<Selector>, AttestationError> {
        self.attestor.attest(peer, asks_for_digest(content)).await
    }

    /// The update for these selectors, and when time alone will change it.
    fn update(
        &self,
        selectors: &BTreeSet<Selector>,
        content: &Content,
        authorities: &Authorities,
        now: SystemTime,
    ) -> Result<(WorkloadUpdate, SystemTime), IssueError> {
        let entries = content.matching(selectors, now.into());
        let mut look_again_at = now + LONGEST_SLEEP;
        let mut identities = Vec::with_capacity(entries.len());
        let mut failure = None;
        for entry in &entries {
            if entry.expires_at > 0 {
                let seconds = u64::try_from(entry.expires_at).unwrap_or_default();
                look_again_at = look_again_at.min(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            }
            match self.issuer.x509_svid(entry, now) {
                Ok(issued) => {
                    look_again_at = look_again_at.min(issued.renew_at);
                    identities.push(Identity { entry: entry.clone(), svid: issued.svid });
                }
                Err(error) => {
                    tracing::error!(entry_id = %entry.id, %error, "cannot issue the SVID of an entry");
                    failure = Some(error);
                }
            }
        }
        // One entry that cannot be served leaves the others alone.
        if let Some(error) = failure.filter(|_| identities.is_empty()) {
            return Err(error);
        }
        let federated_bundles = federated_bundles(content, &entries);
        Ok((WorkloadUpdate { identities, bundle: authorities.bundle.clone(), federated_bundles }, look_again_at))
    }
}

/// Hashing an executable takes time, so it is done only where an entry asks for it.
fn asks_for_digest(content: &Content) -> bool {
    content.asks_for(attestation::UNIX, attestation::DIGEST_PREFIX)
}

fn federated_bundles(content: &Content, entries: &[Arc<Entry>]) -> BTreeMap<TrustDomain, Arc<Bundle>> {
    let domains = entries.iter().flat_map(|entry| &entry.federates_with).filter(|domain| *domain != content.trust_domain());
    domains.filter_map(|domain| Some((domain.clone(), content.bundle(domain)?.clone()))).collect()
}

/// Follows one workload.
#[derive(Debug)]
pub struct WorkloadWatch {
    workloads: Workloads,
    peer: Peer,
    selectors: BTreeSet<Selector>,
    attests_digest: bool,
    content: watch::Receiver<Arc<Content>>,
    authorities: watch::Receiver<Arc<Authorities>>,
    /// `None` until the first update is out.
    look_again_at: Option<SystemTime>,
}

impl WorkloadWatch {
    pub fn selectors(&self) -> &BTreeSet<Selector> {
        &self.selectors
    }

    /// The first update at once, then one whenever something may have changed. Two in a row can be equal. Nothing is
    /// lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<WorkloadUpdate, WorkloadError> {
        if let Some(at) = self.look_again_at {
            let pause = at.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::select! {
                () = self.workloads.shutdown.cancelled() => return Err(WorkloadError::Stopping),
                changed = self.content.changed() => changed.map_err(|_| WorkloadError::Stopping)?,
                changed = self.authorities.changed() => changed.map_err(|_| WorkloadError::Stopping)?,
                () = tokio::time::sleep(pause) => {}
            }
            // Whatever comes next must not wait again for what has just been seen.
            self.look_again_at = None;
        }
        let content = self.content.borrow_and_update().clone();
        let authorities = self.authorities.borrow_and_update().clone();
        if asks_for_digest(&content) && !self.attests_digest {
            self.selectors = self.workloads.selectors(&self.peer, &content).await?;
            self.attests_digest = true;
        }
        let now = SystemTime::now();
        let (update, look_again_at) = self.workloads.update(&self.selectors, &content, &authorities, now)?;
        self.workloads.note(&self.peer, &self.selectors, !update.identities.is_empty());
        // At least a moment, so that a clock that jumps cannot make this loop spin.
        self.look_again_at = Some(look_again_at.max(now + Duration::from_millis(100)));
        Ok(update)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use cofide_svid::authority::{X509CertificateAuthority, X509Settings, bundle as published};

    use super::*;

    pub(crate) fn bundle(trust_domain: &str) -> Bundle {
        let trust_domain = TrustDomain::new(trust_domain).unwrap();
        published(&X509CertificateAuthority::create(trust_domain, X509Settings::default(), SystemTime::now()).unwrap(), None, 0)
    }

    /// The bundle with one more authority before its own, which BoringSSL cannot read: its version is the eighth.
    pub(crate) fn odd(bundle: &Bundle) -> Bundle {
        let mut odd = bundle.x509_authorities[0].clone();
        let version = odd.der.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]).unwrap();
        odd.der[version + 4] = 7;
        let mut bundle = bundle.clone();
        bundle.x509_authorities.insert(0, odd);
        bundle
    }
}
