//! `make lab` and `make lab-down`: the clusters of the tests, for a person.
//!
//! `lab up` starts a cluster with Istio for servers, one with Istio for clients and one without, and leaves them running.
//! `lab down` ends them.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Result, bail};
use cofide_testkit::lab::{Cluster, ISTIO_NAMESPACE, IstioProxy, Lab, Mesh, Proxy, end_orphans, kept};

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("up") => Box::pin(up()).await,
        Some("down") => down(),
        _ => bail!("say `up` or `down`"),
    }
}

async fn up() -> Result<()> {
    if let Some(lab) = kept()?.first() {
        print!("The clusters are up already.\n\n{}", lab.note);
        return Ok(());
    }
    let start = Instant::now();
    let lab = Lab::start()?.to_be_kept();
    println!("Starting three clusters");
    let (server, client, plain) =
        tokio::try_join!(with_istio(&lab, "server"), with_istio(&lab, "client"), async { lab.cluster("plain").await })?;
    let mut note = String::new();
    let mut clusters = Vec::new();
    let mut gateways = Vec::new();
    for (cluster, of_cluster) in [server, client, (plain, vec![])] {
        describe(&mut note, &cluster, &of_cluster)?;
        clusters.push(cluster);
        gateways.extend(of_cluster);
    }
    let kubeconfig = clusters[0].kubeconfig().display();
    write!(
        note,
        "\nEverything in the lab reaches this machine at {}, and this machine reaches it. Logs are beside the kubeconfigs.\n\n\
         export KUBECONFIG={kubeconfig}\n\
         kubectl get pods,services --all-namespaces\n\n\
         make lab-down ends it.\n",
        lab.address(),
    )?;
    print!("Up after {} s.\n\n{note}", start.elapsed().as_secs());
    lab.keep(clusters, gateways, &note)
}

/// A cluster with both of Istio's gateways.
async fn with_istio(lab: &Lab, name: &str) -> Result<(Cluster, Vec<IstioProxy>)> {
    let cluster = lab.cluster(name).await?.with_istiod(&Mesh::new(&trust_domain(name))).await?;
    let mut gateways = Vec::new();
    for kind in ["ingressgateway", "eastwestgateway"] {
        let proxy = Proxy::new(ISTIO_NAMESPACE, &format!("istio-{kind}"), sds_socket(&cluster)).label("istio", kind);
        let gateway = cluster.istio_gateway(&proxy).await?;
        cluster.expose_gateway(&gateway, &[("tls", 15443), ("https", 443)]).await?;
        gateways.push(gateway);
    }
    Ok((cluster, gateways))
}

fn trust_domain(cluster: &str) -> String {
    format!("{cluster}.test")
}

fn sds_socket(cluster: &Cluster) -> std::path::PathBuf {
    cluster.host.folder.join("workload-api.sock")
}

fn describe(note: &mut String, cluster: &Cluster, gateways: &[IstioProxy]) -> Result<()> {
    writeln!(note, "{:8} {}", cluster.name(), cluster.kubeconfig().display())?;
    if gateways.is_empty() {
        return Ok(());
    }
    let addresses: Vec<_> = gateways.iter().map(|gateway| format!("{} {}", gateway.host.name(), gateway.host.address)).collect();
    writeln!(note, "         Istio with trust domain {}; gateways {}", trust_domain(cluster.name()), addresses.join(", "))?;
    let socket = sds_socket(cluster);
    writeln!(note, "         The gateways open when a SPIFFE server or SPIRE agent serves SDS at {}", socket.display())?;
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
