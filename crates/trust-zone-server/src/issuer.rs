//! X.509-SVIDs, one for each entry, made when first asked for and again when half of their life is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cofide_core::SpiffeId;
use cofide_svid::authority::{IssueError, JwtSigner};
use cofide_svid::jwt::JwtSvid;
use cofide_svid::{IdentitySource, X509Svid};

use crate::authority::Authority;
use crate::datastore::{Content, Entry, EntryId};
use crate::metrics::Metrics;

/// Processes that match the same entry share its SVID: they are the same workload.
#[derive(Debug)]
pub struct Issuer {
    authority: Authority,
    metrics: Metrics,
    x509_svid_ttl: Duration,
    jwt_svid_ttl: Duration,
    cache: Mutex<HashMap<EntryId, Cached>>,
}

#[derive(Debug)]
struct Cached {
    /// What the SVID was made from. Another authority counts too: after an activation all workloads move to it, so that
    /// the old one can be retired as soon as the bundle's readers have settled.
    wish: Wish,
    issued: Issued,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    spiffe_id: SpiffeId,
    dns_names: Vec<String>,
    ttl: Duration,
    authority_id: String,
}

/// An SVID and when to ask for the next one.
#[derive(Clone, Debug)]
pub struct Issued {
    pub svid: Arc<X509Svid>,
    pub renew_at: SystemTime,
}

impl Issuer {
    pub fn new(authority: Authority, metrics: Metrics, x509_svid_ttl: Duration, jwt_svid_ttl: Duration) -> Self {
        Self { authority, metrics, x509_svid_ttl, jwt_svid_ttl, cache: Mutex::default() }
    }

    /// The entry's SVID: the one of before while it is good, else a fresh one.
    pub fn x509_svid(&self, entry: &Entry, now: SystemTime) -> Result<Issued, IssueError> {
        let authorities = self.authority.read();
        let wish = Wish {
            spiffe_id: entry.spiffe_id.clone(),
            dns_names: entry.dns_names.clone(),
            ttl: ttl(entry.x509_svid_ttl, self.x509_svid_ttl),
            authority_id: authorities.active_x509(),
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cache.get(&entry.id)
            && cached.wish == wish
            && now < cached.issued.renew_at
        {
            return Ok(cached.issued.clone());
        }
        let issued = Issued::new(authorities.x509.issue(&wish.spiffe_id, &wish.dns_names, &[], wish.ttl, now)?, now);
        self.metrics.x509_svids.inc();
        tracing::debug!(spiffe_id = %wish.spiffe_id, entry_id = %entry.id, "issued an X.509-SVID");
        cache.insert(entry.id.clone(), Cached { wish, issued: issued.clone() });
        Ok(issued)
    }

    /// A token for the audiences; tokens are not kept.
    pub fn jwt_svid(&self, entry: &Entry, audience: &[String], now: SystemTime) -> Result<JwtSvid, IssueError> {
        let signer: &JwtSigner = &self.authority.read().jwt;
        let svid = signer.sign(&entry.spiffe_id, audience, ttl(entry.jwt_svid_ttl, self.jwt_svid_ttl), now)?;
        self.metrics.jwt_svids.inc();
        Ok(svid)
    }

    /// Forgets the SVIDs of entries that are gone, and their keys with them.
    pub fn forget_deleted(&self, content: &Content) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| content.entry(id).is_some());
    }
}

fn ttl(seconds: u32, default: Duration) -> Duration {
    if seconds == 0 { default } else { Duration::from_secs(seconds.into()) }
}

impl Issued {
    /// Counted from the moment of issue: the certificate itself begins earlier, for the clocks of others.
    fn new(svid: X509Svid, now: SystemTime) -> Self {
        let renew_at = now + svid.not_after.duration_since(now).unwrap_or_default() / 2;
        Self { svid: Arc::new(svid), renew_at }
    }
}

/// The identity of this server, `/spire/server`, with which the bundle endpoint answers.
#[derive(Debug)]
pub struct ServerIdentity {
    authority: Authority,
    spiffe_id: SpiffeId,
    ttl: Duration,
    held: Mutex<Option<(String, Issued)>>,
}

impl ServerIdentity {
    pub fn new(authority: Authority, ttl: Duration) -> Self {
        let trust_domain = authority.trust_domain();
        let spiffe_id = SpiffeId::new(format!("spiffe://{trust_domain}/spire/server")).expect("the path is valid in any trust domain");
        Self { authority, spiffe_id, ttl, held: Mutex::default() }
    }
}

impl IdentitySource for ServerIdentity {
    fn identity(&self) -> Option<Arc<X509Svid>> {
        let now = SystemTime::now();
        let authorities = self.authority.read();
        let active = authorities.active_x509();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((authority_id, issued)) = held.as_ref()
            && *authority_id == active
            && now < issued.renew_at
        {
            return Some(issued.svid.clone());
        }
        match authorities.x509.issue(&self.spiffe_id, &[], &[], self.ttl, now) {
            Ok(svid) => {
                let issued = Issued::new(svid, now);
                let svid = issued.svid.clone();
                *held = Some((active, issued));
                Some(svid)
            }
            Err(error) => {
                tracing::error!(%error, "cannot issue the server's own SVID");
                None
            }
        }
    }
}
