//! `make lab`, `make lab-pods` and `make lab-down`: the clusters of the tests, for a person.
//!
//! `lab up` starts three clusters, two of them with Istio, each with a SPIFFE server, and leaves them running. `lab pods` starts
//! the pods of their Deployments. `lab env` prints what a shell needs to know of them. `lab down` ends them.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cofide_testkit::lab::{Kept, Kubelet, Lab, RunningPod, TrustZone, end_orphans, install, kept, merged_kubeconfig};

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("up") => Box::pin(up()).await,
        Some("pods") => Box::pin(pods()).await,
        Some("env") => environment().await,
        Some("down") => down(),
        _ => bail!("say `up`, `pods`, `env` or `down`"),
    }
}

/// The clusters, with the trust domain of each, and whether Istio is in it.
const CLUSTERS: [(&str, &str, bool); 3] =
    [("cluster-a", "a.example", true), ("cluster-b", "b.example", false), ("cluster-c", "c.example", true)];

async fn up() -> Result<()> {
    if let Some(lab) = kept()?.first() {
        print!("The clusters are up already.\n\n{}", lab.note);
        return Ok(());
    }
    let start = Instant::now();
    let lab = Lab::start()?.to_be_kept();
    println!("Starting three clusters");
    let programs = programs()?;
    let [a, b, c] = CLUSTERS.map(|(name, trust_domain, has_istio)| lab.trust_zone(name, trust_domain, has_istio, &programs));
    let (a, b, c) = tokio::try_join!(a, b, c)?;
    let zones = [a, b, c];
    let mut note = String::new();
    for (zone, (_, trust_domain, _)) in zones.iter().zip(CLUSTERS) {
        describe(&mut note, zone, trust_domain)?;
    }
    std::fs::write(lab.folder().join("kubeconfig"), merged_kubeconfig(zones.iter().map(|zone| &zone.cluster))?)?;
    write!(
        note,
        "\nEverything in the lab reaches this machine at {address}, and this machine reaches it. Logs are in {folder}.\n\n  \
         eval \"$(target/debug/examples/lab env)\"\n  kubectl get services --all-namespaces --context cluster-a\n\n\
         docs/kubernetes/lab.md goes on from here; make lab-down ends it.\n",
        address = lab.address(),
        folder = lab.folder().display(),
    )?;
    std::fs::write(lab.folder().join("address"), lab.address().to_string())?;
    print!("Up after {} s.\n\n{note}", start.elapsed().as_secs());
    lab.keep(zones, &note)
}

/// The folder of the product's programs: examples are in a folder below it.
fn programs() -> Result<PathBuf> {
    let folder = std::env::current_exe()?;
    Ok(folder.ancestors().nth(2).context("the example is in no folder")?.to_owned())
}

fn describe(note: &mut String, zone: &TrustZone, trust_domain: &str) -> Result<()> {
    let gateways: Vec<_> = zone.gateways.iter().map(|gateway| format!("{} {}", gateway.host.name(), gateway.host.address)).collect();
    let mesh = if gateways.is_empty() { "no mesh".to_owned() } else { format!("Istio, {}", gateways.join(", ")) };
    writeln!(note, "{}  trust domain {trust_domain}; {mesh}", zone.cluster.name())?;
    Ok(())
}

/// The lab that is up.
fn running() -> Result<Kept> {
    kept()?.into_iter().next().context("no clusters are up; start them: make lab")
}

async fn pods() -> Result<()> {
    let lab = running()?;
    let joined = lab.join()?;
    let programs = programs()?;
    let mut failed = Vec::new();
    for (cluster, ..) in CLUSTERS {
        let kubelet = Kubelet::of_kept(&joined, cluster).await?.of_trust_zone(&lab.folder.join(cluster), &programs)?;
        for started in kubelet.start_pods().await? {
            match started {
                Ok(pod) => {
                    let (RunningPod { namespace, name, host, .. }, folder) = (&pod, pod.host.folder.display());
                    println!("{cluster}: started {namespace}/{name} at {}; its logs are in {folder}", host.address);
                    // What is forgotten is not dropped, hence not ended.
                    std::mem::forget(pod);
                }
                Err(error) => failed.push(format!("{cluster}: {error:#}")),
            }
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// For `eval` in a shell.
async fn environment() -> Result<()> {
    let lab = running()?;
    let address = std::fs::read_to_string(lab.folder.join("address")).context("the lab says no address")?;
    let folders = [programs()?, install("helm").await?];
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    println!("export KUBECONFIG={}", lab.folder.join("kubeconfig").display());
    println!("export LAB_ADDRESS={address}");
    println!("export PATH={}:$PATH", folders.join(":"));
    Ok(())
}

fn down() -> Result<()> {
    let labs = kept()?;
    if labs.is_empty() {
        println!("No clusters are up.");
    }
    for lab in labs {
        lab.end()?;
        println!("Ended the clusters of {}.", lab.folder.display());
    }
    end_orphans()
}
