//! `cofidectl cluster`

use cofide_api::connect::cluster_service::{CreateClusterRequest, DestroyClusterRequest};
use cofide_api::types::cluster::Cluster;
use cofide_api::types::trust_provider::TrustProvider;
use cofide_core::Profile;

use crate::args::cluster::{AddArgs, ClusterCommand, DelArgs, GetArgs, ListArgs};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{cluster_in, clusters, trust_zones};
use crate::view::cluster::{ClusterView, ClustersView};

pub(super) async fn run(command: ClusterCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        ClusterCommand::Add(args) => add(args, connection, printer).await,
        ClusterCommand::List(args) => list(args, connection, printer).await,
        ClusterCommand::Get(args) => get(args, connection, printer).await,
        ClusterCommand::Del(args) => del(args, connection, printer).await,
    }
}

async fn add(args: AddArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let certificate = match &args.kubernetes_ca_cert {
        Some(path) => {
            let unreadable = |error| Error::failed(format!("cannot read {}, named by --kubernetes-ca-cert: {error}", path.display()));
            Some(std::fs::read(path).map_err(unreadable)?)
        }
        None => None,
    };
    let zones = trust_zones(connection).await?;
    // How nodes prove themselves to SPIRE follows from the profile; on a host there is no Kubernetes to vouch for them.
    let profile = args.profile.unwrap_or(Profile::Kubernetes);
    let trust_provider = match profile {
        Profile::Istio | Profile::Kubernetes => Some(TrustProvider { kind: Some("kubernetes".into()), k8s_psat_config: None }),
        Profile::Host => None,
    };
    let cluster = Cluster {
        name: Some(args.name.to_string()),
        trust_zone_id: zones.find(&args.trust_zone)?.id.clone(),
        profile: Some(profile.to_string()),
        trust_provider,
        kubernetes_context: args.kubernetes_context,
        oidc_issuer_url: args.kubernetes_oidc_issuer,
        oidc_issuer_ca_cert: certificate,
        external_server: Some(args.external_server),
        ..Cluster::default()
    };
    let answer = call(connection.clusters().create_cluster(CreateClusterRequest { cluster: Some(cluster) })).await?;
    let view = ClusterView::new(&answer.cluster.unwrap_or_default(), &zones);
    printer.done(&format!("created cluster {} in trust zone {} with profile {}", view.name, view.trust_zone, view.profile), &view)?;
    if args.profile.is_none() {
        let (name, zone) = (&view.name, &view.trust_zone);
        printer.say(&format!(
            "note: no --profile was given, so it is {profile}; for a machine without Kubernetes: cofidectl cluster del \
             {name} --trust-zone {zone}, then cofidectl cluster add {name} --trust-zone {zone} --profile host"
        ))?;
    }
    Ok(())
}

async fn list(args: ListArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = args.trust_zone.as_deref().map(|name| zones.find(name)).transpose()?;
    let clusters = clusters(connection, zone).await?;
    let mut views: Vec<_> = clusters.iter().map(|cluster| ClusterView::new(cluster, &zones)).collect();
    views.sort_by(|a, b| (&a.name, &a.trust_zone).cmp(&(&b.name, &b.trust_zone)));
    printer.show(&ClustersView(views))
}

async fn get(args: GetArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let cluster = cluster_in(connection, zones.find(&args.trust_zone)?, &args.name).await?;
    printer.show(&ClusterView::new(&cluster, &zones))
}

async fn del(args: DelArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zones = trust_zones(connection).await?;
    let zone = zones.find(&args.trust_zone)?;
    let cluster = cluster_in(connection, zone, &args.name).await?;
    call(connection.clusters().destroy_cluster(DestroyClusterRequest { cluster_id: cluster.id.clone() })).await?;
    printer.say(&format!("removed cluster {} of trust zone {}", cluster.name(), zone.name))
}
