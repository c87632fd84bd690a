use super::*;
use crate::testing::{client, publish};
use cofide_svid::BundleSet;
use std::convert::Infallible;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

const PACE: Pace = Pace { shortest: Duration::from_millis(20), without_hint: Pace::WITHOUT_HINT };

/// Hands on what it is given.
#[derive(Clone)]
struct Taker {
    taken: UnboundedSender<Bundle>,
    troubles: UnboundedSender<String>,
}

#[derive(Clone)]
struct Partner {
    endpoint: BundleEndpoint,
    /// Closed when nobody has the partner any more.
    _held: Sender<()>,
}

impl PartialEq for Partner {
    fn eq(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
    }
}

impl BundleTaker for Taker {
    type Partner = Partner;
    type Refusal = Infallible;

    fn endpoint(partner: &Partner) -> BundleEndpoint {
        partner.endpoint.clone()
    }

    async fn take(&self, _: &Partner, bundle: Bundle) -> Result<(), Infallible> {
        let _ = self.taken.send(bundle);
        Ok(())
    }

    fn attempted(&self, _: &Partner, outcome: &Result<(), RefreshError<Infallible>>) {
        if let Err(error) = outcome {
            let _ = self.troubles.send(error.to_string());
        }
    }
}

struct Plane {
    poller: Poller<Taker>,
    held: Arc<BundleSet>,
    taken: UnboundedReceiver<Bundle>,
    troubles: UnboundedReceiver<String>,
}

impl Plane {
    fn new() -> Self {
        let held = Arc::new(BundleSet::new());
        let ((taken, takes), (troubles, fails)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let poller = Poller::new(Arc::new(client(&held)), PACE, Taker { taken, troubles });
        Self { poller, held, taken: takes, troubles: fails }
    }

    fn polled(&self) -> Vec<&BundleEndpoint> {
        self.poller.polled().map(|partner| &partner.endpoint).collect()
    }
}

fn partner(endpoint: &BundleEndpoint) -> (Partner, Receiver<()>) {
    let (held, dropped) = mpsc::channel(1);
    (Partner { endpoint: endpoint.clone(), _held: held }, dropped)
}

async fn soon<T>(what: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes within 20 s")
}

#[test]
fn a_hint_is_followed_within_bounds() {
    let pace = Pace { shortest: Duration::from_secs(60), without_hint: Pace::WITHOUT_HINT };
    for (hint, expected, why) in [
        (0, Duration::from_secs(300), "no hint"),
        (600, Duration::from_secs(150), "four attempts within the hint"),
        (4, Duration::from_secs(60), "not more often than the shortest"),
        (u64::MAX, Duration::from_secs(24 * 3600), "not forgotten"),
    ] {
        assert_eq!(pace.pause(hint), expected, "{why}");
    }
    assert_eq!(PACE.pause(1), Duration::from_millis(250), "a fraction of a second counts");
}

#[test]
fn a_trouble_is_news_once_and_so_is_its_end() {
    let mut last = LastTrouble::default();
    let heard = [None, Some("404"), Some("404"), Some("timeout"), None, None].map(|trouble| last.is_news(trouble));
    assert_eq!(heard, [false, true, false, true, true, false]);
}

#[tokio::test]
async fn a_partner_is_asked_again_and_again_until_it_is_not_wanted() {
    let (mut plane, shutdown) = (Plane::new(), CancellationToken::new());
    let publisher = publish("b.test", &shutdown).await;
    plane.held.set(publisher.bundle.clone());
    let (wanted, mut dropped) = partner(&publisher.endpoint);
    plane.poller.poll([wanted.clone()]);
    for _ in 0..3 {
        assert_eq!(soon(plane.taken.recv()).await.unwrap(), publisher.bundle);
        // The one that is there goes on.
        plane.poller.poll([wanted.clone()]);
    }
    drop(wanted);
    plane.poller.poll([]);
    assert!(soon(dropped.recv()).await.is_none(), "its task is gone");
    assert!(plane.polled().is_empty());
}

#[tokio::test]
async fn an_endpoint_waits_for_the_bundle_that_verifies_it() {
    let (mut plane, shutdown) = (Plane::new(), CancellationToken::new());
    let publisher = publish("b.test", &shutdown).await;
    let (wanted, _dropped) = partner(&publisher.endpoint);
    plane.poller.poll([wanted.clone()]);
    assert!(plane.polled().is_empty());
    plane.held.set(publisher.bundle.clone());
    plane.poller.poll([wanted]);
    assert_eq!(soon(plane.taken.recv()).await.unwrap(), publisher.bundle);
    assert!(plane.troubles.try_recv().is_err(), "nobody was asked in vain");
}

#[tokio::test]
async fn an_endpoint_that_is_silent_or_gone_harms_no_other() {
    let (mut plane, shutdown) = (Plane::new(), CancellationToken::new());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let publisher = publish("b.test", &shutdown).await;
    plane.held.set(publisher.bundle.clone());
    let elsewhere = |name: &str, url: String| BundleEndpoint {
        trust_domain: TrustDomain::new(name).unwrap(),
        url: url.parse().unwrap(),
        ..publisher.endpoint.clone()
    };
    let silent = elsewhere("a.test", format!("https://{}/", silent.local_addr().unwrap()));
    let gone = elsewhere("c.test", "https://127.0.0.1:1/".into());
    plane.poller.poll([&silent, &publisher.endpoint, &gone].map(|endpoint| partner(endpoint).0));
    assert_eq!(soon(plane.taken.recv()).await.unwrap(), publisher.bundle);
    assert!(soon(plane.troubles.recv()).await.unwrap().contains("cannot be reached"));
}

#[tokio::test]
async fn an_endpoint_that_moves_is_asked_where_it_is_now() {
    let (mut plane, shutdown) = (Plane::new(), CancellationToken::new());
    let publisher = publish("b.test", &shutdown).await;
    plane.held.set(publisher.bundle.clone());
    let before = BundleEndpoint { url: "https://127.0.0.1:1/".parse().unwrap(), ..publisher.endpoint.clone() };
    let (wanted, mut dropped) = partner(&before);
    plane.poller.poll([wanted]);
    soon(plane.troubles.recv()).await.unwrap();
    plane.poller.poll([partner(&publisher.endpoint).0]);
    assert!(soon(dropped.recv()).await.is_none(), "nobody asks the old one");
    assert_eq!(soon(plane.taken.recv()).await.unwrap(), publisher.bundle);
    assert_eq!(plane.polled(), [&publisher.endpoint]);
}
