//! A workload of this process: what the Workload API gives it, up to date.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use cofide_core::{Bundle, TrustDomain, X509Authority};
use cofide_svid::{BundleSet, BundleSource, IdentitySlot, PrivateKey, X509Svid};
use spiffe::x509_source::SvidPicker;
use spiffe::{SpiffeId, X509Context, X509Source};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::plane::Zone;

/// One identity, told apart by its SPIFFE ID: everything in the plane is one process with many identities.
pub struct Workload {
    /// As whom it speaks now.
    pub identity: Arc<IdentitySlot>,
    /// Whom it trusts now.
    pub bundles: Arc<BundleSet>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct One(SpiffeId);

impl SvidPicker for One {
    fn pick_svid(&self, svids: &[Arc<spiffe::X509Svid>]) -> Option<usize> {
        svids.iter().position(|svid| svid.spiffe_id() == &self.0)
    }
}

impl Workload {
    /// Waits until the zone gives this process the identity with this path, and follows it from then on.
    pub async fn start(zone: &Zone, path: &str) -> Result<Self> {
        let id = SpiffeId::new(format!("spiffe://{}{path}", zone.trust_domain))?;
        let endpoint = format!("unix://{}", zone.workload_api_socket().display());
        let source = X509Source::builder().endpoint(endpoint).picker(One(id)).build().await?;
        let (identity, bundles) = (Arc::new(IdentitySlot::default()), Arc::new(BundleSet::new()));
        let stop = CancellationToken::new();
        let (stopped, into) = (stop.clone(), (identity.clone(), bundles.clone()));
        let mut updates = source.updated();
        follow(&source, &into.0, &into.1)?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    update = updates.changed() => if update.is_err() { break },
                }
                // Without an identity it keeps what it has, as an application would.
                let _ = follow(&source, &into.0, &into.1);
            }
            source.shutdown().await;
        });
        Ok(Self { identity, bundles, _stop: stop.drop_guard() })
    }

    /// The trust domains whose bundles it holds.
    pub fn trusts(&self) -> BTreeSet<String> {
        self.bundles.all().iter().map(|bundle| bundle.trust_domain.to_string()).collect()
    }

    /// The authorities that it accepts for a trust domain.
    pub fn authorities_of(&self, trust_domain: &TrustDomain) -> BTreeSet<String> {
        self.bundles.bundle(trust_domain).map(|bundle| authorities(&bundle)).unwrap_or_default()
    }
}

/// The X.509 authorities of a bundle, each by the end of its signature, which is as good as all of it and can be read.
pub fn authorities(bundle: &Bundle) -> BTreeSet<String> {
    let short = |der: &[u8]| der[der.len().saturating_sub(8)..].iter().map(|byte| format!("{byte:02x}")).collect();
    bundle.x509_authorities.iter().map(|authority| short(&authority.der)).collect()
}

fn follow(source: &X509Source, identity: &IdentitySlot, bundles: &BundleSet) -> Result<()> {
    bundles.replace_all(bundles_of(source.x509_context()?.as_ref()));
    identity.set(identity_of(source.svid()?.as_ref())?);
    Ok(())
}

/// An SVID of the Workload API in the product's own form.
pub fn identity_of(svid: &spiffe::X509Svid) -> Result<X509Svid> {
    let chain: Vec<u8> = svid.cert_chain().iter().flat_map(|certificate| certificate.as_bytes()).copied().collect();
    let key = PrivateKey::from_pkcs8_der(svid.private_key().as_bytes().to_vec());
    X509Svid::from_der(&chain, key).context("the Workload API gave an SVID that cannot be used")
}

/// The bundles of an answer of the Workload API in the product's own form.
pub fn bundles_of(context: &X509Context) -> Vec<Bundle> {
    let authority = |certificate: &spiffe::cert::Certificate| X509Authority { der: certificate.as_bytes().to_vec(), tainted: false };
    let bundles = context.bundle_set().iter().map(|(trust_domain, found)| Bundle {
        x509_authorities: found.authorities().iter().map(authority).collect(),
        ..Bundle::empty(trust_domain.clone())
    });
    bundles.collect()
}
