//! Fetching from bundle endpoints again and again: each has a task of its own, so that one that is slow, gone or lying
//! harms no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cofide_core::{Bundle, TrustDomain};
use tokio::task::JoinHandle;

use crate::{BundleClient, BundleEndpoint, FetchError};

/// A bundle is asked for several times within its refresh hint, so that one failure does not make it stale; as in SPIRE.
const ATTEMPTS_PER_REFRESH_HINT: u32 = 4;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Whoever wants bundles. Clones share everything.
pub trait BundleTaker: Clone + Send + Sync + 'static {
    /// Whose bundle is fetched and where, with all by which it is known; one that differs is another.
    type Partner: Clone + PartialEq + Send + Sync + 'static;
    /// Why a bundle that was fetched does not take the place of the held one.
    type Refusal: std::error::Error + Send + 'static;

    fn endpoint(partner: &Self::Partner) -> BundleEndpoint;

    /// Takes what the partner's endpoint publishes now, by the taker's own rules.
    fn take(&self, partner: &Self::Partner, bundle: Bundle) -> impl Future<Output = Result<(), Self::Refusal>> + Send;

    /// Told after each attempt.
    fn attempted(&self, partner: &Self::Partner, outcome: &Result<(), RefreshError<Self::Refusal>>);
}

#[derive(Debug, thiserror::Error)]
pub enum RefreshError<R: std::error::Error + 'static> {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Refused(R),
}

/// Asks once, now.
///
/// # Errors
///
/// The bundle cannot be fetched, or is not taken.
pub async fn refresh<T: BundleTaker>(client: &BundleClient, taker: &T, partner: &T::Partner) -> Result<(), RefreshError<T::Refusal>> {
    let outcome = match client.fetch(&T::endpoint(partner)).await {
        Ok(bundle) => taker.take(partner, bundle).await.map_err(RefreshError::Refused),
        Err(error) => Err(error.into()),
    };
    taker.attempted(partner, &outcome);
    outcome
}

/// How often an endpoint is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two attempts, whatever the bundle's refresh hint says.
    pub shortest: Duration,
    /// Between two attempts where the bundle has no refresh hint.
    pub without_hint: Duration,
}

impl Pace {
    /// Where nothing else is configured.
    pub const WITHOUT_HINT: Duration = Duration::from_secs(300);

    /// Until the next attempt; `hint` in seconds, 0 where there is none. A hint of whatever size cannot make a partner's server be
    /// flooded or be forgotten.
    fn pause(&self, hint: u64) -> Duration {
        let wanted = if hint == 0 { self.without_hint } else { Duration::from_secs(hint) / ATTEMPTS_PER_REFRESH_HINT };
        wanted.min(LONGEST).max(self.shortest)
    }
}

/// The tasks; they end with it.
#[derive(Debug)]
pub struct Poller<T: BundleTaker> {
    client: Arc<BundleClient>,
    pace: Pace,
    taker: T,
    running: BTreeMap<TrustDomain, Polling<T::Partner>>,
    /// For a bundle with which their endpoints can be verified.
    waiting: BTreeSet<TrustDomain>,
}

/// One partner's task; ends with it.
#[derive(Debug)]
struct Polling<P> {
    partner: P,
    task: JoinHandle<()>,
}

impl<P> Drop for Polling<P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: BundleTaker> Poller<T> {
    pub fn new(client: Arc<BundleClient>, pace: Pace, taker: T) -> Self {
        Self { client, pace, taker, running: BTreeMap::new(), waiting: BTreeSet::new() }
    }

    /// From now on polls these and no others, one for each trust domain. To be called whenever they or the held bundles change:
    /// an `https_spiffe` endpoint can be verified once a bundle of its server's trust domain is held, which somebody has to bring.
    pub fn poll(&mut self, wanted: impl IntoIterator<Item = T::Partner>) {
        let by_domain = |partner| (T::endpoint(&partner).trust_domain, partner);
        let wanted: BTreeMap<_, _> = wanted.into_iter().map(by_domain).collect();
        let (ready, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            wanted.into_iter().partition(|(_, partner)| self.client.can_verify(&T::endpoint(partner).profile));
        for trust_domain in waiting.keys().filter(|trust_domain| !self.waiting.contains(trust_domain)) {
            tracing::info!(%trust_domain, "the partner's bundle is not fetched before there is a first bundle to verify its endpoint with");
        }
        self.waiting = waiting.into_keys().collect();
        self.running.retain(|trust_domain, polling| ready.get(trust_domain) == Some(&polling.partner));
        for (trust_domain, partner) in ready {
            self.running.entry(trust_domain).or_insert_with(|| {
                let task = tokio::spawn(poll(self.client.clone(), self.pace, self.taker.clone(), partner.clone()));
                Polling { partner, task }
            });
        }
    }

    /// Whose endpoints are asked: those that are wanted and can be verified.
    pub fn polled(&self) -> impl Iterator<Item = &T::Partner> {
        self.running.values().map(|polling| &polling.partner)
    }
}

async fn poll<T: BundleTaker>(client: Arc<BundleClient>, pace: Pace, taker: T, partner: T::Partner) {
    let BundleEndpoint { trust_domain, url, .. } = T::endpoint(&partner);
    let mut last = LastTrouble::default();
    loop {
        let trouble = refresh(&client, &taker, &partner).await.err().map(|error| error.to_string());
        let is_news = last.is_news(trouble.as_deref());
        match trouble {
            Some(trouble) if is_news => {
                tracing::warn!(%trust_domain, %url, trouble, "cannot refresh the partner's bundle; the held one stays in force");
            }
            Some(trouble) => tracing::debug!(%trust_domain, trouble, "still cannot refresh the partner's bundle"),
            None if is_news => tracing::info!(%trust_domain, "the partner's bundle can be refreshed again"),
            None => {}
        }
        let hint = client.bundles.bundle(&trust_domain).map_or(0, |bundle| bundle.refresh_hint);
        tokio::time::sleep(pace.pause(hint)).await;
    }
}

/// By which each trouble is said once, not with each attempt.
#[derive(Default)]
struct LastTrouble(Option<String>);

impl LastTrouble {
    fn is_news(&mut self, trouble: Option<&str>) -> bool {
        let is_news = self.0.as_deref() != trouble;
        self.0 = trouble.map(str::to_owned);
        is_news
    }
}

#[cfg(test)]
#[path = "poller_tests.rs"]
mod tests;
