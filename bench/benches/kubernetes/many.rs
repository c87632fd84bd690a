//! A thousand services at once, and an agent that starts anew with them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cofide_bench::Usage;
use cofide_testkit::kubernetes::{Site, World, federated_service};
use cofide_testkit::lab::{Cluster, Write};
use futures::{StreamExt, TryStreamExt};

use crate::rounds::{Bench, hostname};
use crate::{APP, NAMESPACE, PORT};

const AGENT: &str = "system:serviceaccount:cofide:cofide-agent";
/// How many writes are under way, as of an operator who applies a folder.
const AT_A_TIME: usize = 16;
/// A cluster in which no agent has written for so long is at rest. A Lease is renewed all the time, and does not count.
const QUIET: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(600);
/// Objects for each service: at the server ServiceEntry, PeerAuthentication, VirtualService and a Gateway for each of two
/// gateways; at the client ServiceEntry, WorkloadEntry, DestinationRule, VirtualService and EnvoyFilter.
const OBJECTS: usize = 5;
const WITHDRAWN: usize = 20;

fn is_of_many(hostname: &str) -> bool {
    hostname.starts_with("many-")
}

pub(crate) async fn apply_at_once(world: &World, bench: &Bench, count: usize) -> Result<()> {
    let World { server, client, plain, .. } = world;
    for site in [server, client] {
        until_quiet(&site.cluster, 0).await?;
    }
    let before = [server, client].map(|site| site.cluster.writes().map_or(0, |writes| writes.len()));
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    let begun = Instant::now();
    futures::stream::iter(&names)
        .map(async |name| bench.apply(name, &federated_service(NAMESPACE, name, APP, PORT, "Mtls")).await)
        .buffer_unordered(AT_A_TIME)
        .try_collect::<Vec<()>>()
        .await?;
    let applied = begun.elapsed();
    let ready = bench.server.until_ready(count).await?.duration_since(begun);
    let imported = bench.client.until_count(count * OBJECTS, is_of_many).await?.duration_since(begun);
    let last = hostname(names.last().context("there is one at least")?);
    while world.outside.resolve(&last).await.is_empty() {
        ensure!(begun.elapsed() < PATIENCE, "{last} has no address after {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
    println!("\n{count} FederatedServices at once, exported to a mesh and to a cluster without one");
    println!("  all applied, s                                 {:>8.1}", applied.as_secs_f64());
    println!("  all Ready, s                                   {:>8.1}", ready.as_secs_f64());
    println!("  all objects of the importing mesh written, s   {:>8.1}", imported.as_secs_f64());
    for (what, site, before, others) in [("exporting", server, before[0], count), ("importing", client, before[1], 0)] {
        until_quiet(&site.cluster, before).await?;
        let seen = if site.zone == server.zone { &bench.server } else { &bench.client };
        // Each object once, and each status.
        let minimum = seen.count(is_of_many) + others;
        report_writes(what, &site.cluster, before, minimum)?;
    }
    for (what, site) in [("exporting", server), ("importing", client), ("without a mesh", plain)] {
        let usage = usage(site)?;
        println!(
            "  agent, {what:<15}: peak memory, MiB          {:>8.0}   CPU, s {:>6.1}",
            usage.peak_kib as f64 / 1024.0,
            usage.cpu.as_secs_f64()
        );
    }
    Ok(())
}

/// Takes some of them back, for Connect keeps a thousand services of a cluster and no more; answers how many are left.
pub(crate) async fn withdraw_some(world: &World, bench: &Bench, count: usize) -> Result<usize> {
    let left = count - WITHDRAWN.min(count / 2);
    for number in left..count {
        let name = format!("many-{number}");
        bench.withdraw(&name, &hostname(&name)).await?;
    }
    for site in [&world.server, &world.client] {
        until_quiet(&site.cluster, 0).await?;
    }
    Ok(left)
}

/// As a rolling update does: it is asked to end, and another one begins on the same disk.
pub(crate) async fn restart_agent(world: &mut World, count: usize) -> Result<()> {
    let before = world.server.cluster.writes()?.len();
    world.server.agent_mut().terminate().await?;
    let begun = Instant::now();
    world.server.agent_mut().start()?;
    while !world.server.agent().is_ready().await {
        ensure!(begun.elapsed() < PATIENCE, "the agent is not ready after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ready = begun.elapsed();
    // It has looked at everything once it has done something new.
    let seen = crate::seen::Seen::start(&world.server.cluster)?;
    let fence = federated_service(NAMESPACE, "fence", APP, PORT, "Mtls");
    world.server.cluster.apply(&fence).await?;
    seen.until_name_is_ready("fence").await?;
    let fenced = begun.elapsed();
    until_quiet(&world.server.cluster, before).await?;
    let writes = writes_since(&world.server.cluster, before)?;
    let (of_fence, others): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| write.name.contains("fence"));
    println!("\nthe agent of the exporting cluster started anew with {count} services");
    println!("  ready, s                                       {:>8.2}", ready.as_secs_f64());
    println!("  a new service is Ready, s                      {:>8.2}", fenced.as_secs_f64());
    println!("  writes                                         {:>8}   {}", others.len(), by_resource(&others));
    println!("  writes for the new service                     {:>8}   {}", of_fence.len(), by_resource(&of_fence));
    Ok(())
}

fn usage(site: &Site) -> Result<Usage> {
    Usage::of(site.agent().pid().context("the agent runs")?)
}

/// What the agent has written since there were so many writes, but for its Lease.
fn writes_since(cluster: &Cluster, before: usize) -> Result<Vec<Write>> {
    let writes = cluster.writes()?.into_iter().skip(before);
    Ok(writes.filter(|write| write.user == AGENT && write.resource != "leases").collect())
}

async fn until_quiet(cluster: &Cluster, before: usize) -> Result<()> {
    let begun = Instant::now();
    let (mut last, mut since) = (usize::MAX, Instant::now());
    while since.elapsed() < QUIET {
        let count = writes_since(cluster, before)?.len();
        if count != last {
            (last, since) = (count, Instant::now());
        }
        ensure!(begun.elapsed() < PATIENCE, "the agent of {cluster:?} still writes after {PATIENCE:?}");
        tokio::time::sleep(QUIET / 6).await;
    }
    Ok(())
}

fn report_writes(what: &str, cluster: &Cluster, before: usize, minimum: usize) -> Result<()> {
    let writes = writes_since(cluster, before)?;
    let refused: Vec<_> = writes.iter().filter(|write| write.status >= 400).cloned().collect();
    println!(
        "  agent, {what:<15}: writes {:>6}, of which are needed {minimum}: {:+.1} %; {}",
        writes.len(),
        (writes.len() as f64 / minimum as f64 - 1.0) * 100.0,
        by_resource(&writes)
    );
    if let Some(first) = refused.first() {
        println!("    refused, the first with {}: {}", first.status, by_resource(&refused));
    }
    Ok(())
}

fn by_resource(writes: &[Write]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for write in writes {
        *counts.entry(&write.resource).or_default() += 1;
    }
    counts.iter().map(|(resource, count)| format!("{resource} {count}")).collect::<Vec<_>>().join(", ")
}
