//! Two trust zones, A and B, each with one workload.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use cofide_core::TrustDomain;
use cofide_svid::{IdentitySource, KeyUsage, x509};
use cofide_testkit::plane::Plane;
use cofide_testkit::spire::SpireOptions;
use cofide_testkit::workload::Workload;

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

const PATH: &str = "/ns/bench/sa/workload";
/// SPIRE's default for its two intervals: how often an agent asks its server, and a server its database.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks at whether something has arrived: the error of every figure.
const LOOK: Duration = Duration::from_millis(2);
/// What has not arrived by then never will. SPIRE's own polling takes a minute.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Zones {
    pub(crate) plane: Plane,
    /// The binding of each workload.
    pub(crate) bindings: [String; 2],
    pub(crate) workloads: [Workload; 2],
}

impl Zones {
    pub(crate) async fn on_trust_zone_servers() -> Result<Self> {
        let mut plane = Plane::start().await?;
        plane.add_zone("a").await?;
        plane.add_zone("b").await?;
        Self::of(plane).await
    }

    pub(crate) async fn on_spire() -> Result<Self> {
        let mut plane = Plane::start().await?;
        let options = SpireOptions { sync_interval: SYNC_INTERVAL, ..SpireOptions::default() };
        plane.add_spire_zone("a", options.clone()).await?;
        plane.add_spire_zone("b", options).await?;
        Self::of(plane).await
    }

    async fn of(plane: Plane) -> Result<Self> {
        let bindings = [plane.bind(A, PATH, &[]).await?, plane.bind(B, PATH, &[]).await?];
        let workloads = [Workload::start(&plane.zones[A], PATH).await?, Workload::start(&plane.zones[B], PATH).await?];
        Ok(Self { plane, bindings, workloads })
    }

    /// Federates the zones both ways and has both bindings opt in. Answers the ids of the federations.
    pub(crate) async fn opt_in(&self) -> Result<[String; 2]> {
        let federations = [self.plane.federate(A, B).await?, self.plane.federate(B, A).await?];
        self.plane.update_binding(&self.bindings[A], &[B]).await?;
        self.plane.update_binding(&self.bindings[B], &[A]).await?;
        Ok(federations)
    }

    /// Whether each workload verifies the other's certificate, which is what a handshake of the two asks.
    pub(crate) fn verify_each_other(&self) -> bool {
        let verifies = |one: &Workload, other: &Workload| {
            let svid = other.identity.identity();
            svid.is_some_and(|svid| x509::verify(&svid.certificates, one.bundles.as_ref(), SystemTime::now(), KeyUsage::Server).is_ok())
        };
        verifies(&self.workloads[A], &self.workloads[B]) && verifies(&self.workloads[B], &self.workloads[A])
    }

    pub(crate) fn trust_domain_of_a(&self) -> &TrustDomain {
        &self.plane.zones[A].trust_domain
    }

    /// How many authorities of A the SPIFFE server of B has.
    pub(crate) async fn held_by_the_server_of_b(&self) -> Result<usize> {
        let bundles = self.plane.zones[B].spire().bundles().await?;
        Ok(bundles.get(self.trust_domain_of_a()).map_or(0, |bundle| bundle.x509_authorities.len()))
    }

    /// How many authorities of A the workload of B accepts.
    pub(crate) fn held_by_the_workload_of_b(&self) -> usize {
        self.workloads[B].authorities_of(self.trust_domain_of_a()).len()
    }
}

/// Looks until it is so, and answers how long that was since `began`.
pub(crate) async fn arrives(what: &str, began: Instant, mut is_there: impl AsyncFnMut() -> Result<bool>) -> Result<Duration> {
    while !is_there().await.with_context(|| what.to_owned())? {
        ensure!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(began.elapsed())
}
