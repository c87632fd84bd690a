//! What connections become of the objects that the agent writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cofide_agent::bootstrap::EnvoyBootstrap;
use cofide_agent::desired::desired;
use cofide_agent::mesh::mesh_config::{self, Managed};
use cofide_agent::render::envoy::{SidecarSettings, TrustBundles};
use cofide_agent::role::Role;
use cofide_agent::view::ServiceObject;
use cofide_agent::xds_service::XdsService;
use cofide_core::GatewayKind::{EastWest, Ingress};
use cofide_core::{Hostname, ImportedService};
use cofide_dns::{Upstream, ZoneHandle};
use cofide_testkit::envoy::Envoy;
use cofide_testkit::lab::{Cluster, Host, IstioProxy, Lab, Mesh, Pod, Proxy};
use cofide_testkit::wait::attempts;
use tokio::net::TcpStream;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{Agent, Application, Client, Heard, Zone, federate, gateway, http, import, istio_mtls, line, mtls};

const PATIENCE: Duration = Duration::from_secs(60);
const MTLS_HOST: &str = "own.demo.a.test";
const ISTIO_HOST: &str = "mesh.demo.a.test";

/// The zones `a.test` (server), `b.test` (client, to which everything is exported) and `c.test` (which all trust, and to which
/// nothing is).
struct Zones {
    a: Zone,
    b: Zone,
    c: Zone,
}

impl Zones {
    async fn start() -> Self {
        let a = Zone::start("a.test", "/ns/demo/sa/server", &["b.test", "c.test"]).await;
        let b = Zone::start("b.test", "/ns/demo/sa/client", &["a.test", "c.test"]).await;
        let c = Zone::start("c.test", "/ns/demo/sa/intruder", &["a.test", "b.test"]).await;
        federate(&[&a, &b, &c]).await;
        Self { a, b, c }
    }

    async fn client(&self, of: &Zone) -> Client {
        Client { identity: of.identity().await, server: self.a.trust_domain.clone() }
    }
}

/// A mesh that exports `own` (Mtls) and `mesh` (IstioMtls).
struct Server {
    cluster: Cluster,
    agent: Agent,
    ingress: IstioProxy,
    east_west: IstioProxy,
    sidecar: IstioProxy,
    _applications: (Application, Application),
    _host: Host,
}

impl Server {
    async fn start(lab: &Lab, zones: &Zones) -> Self {
        Self::start_in(lab, zones, &Mesh::new("a.test")).await
    }

    async fn start_in(lab: &Lab, zones: &Zones, mesh: &Mesh) -> Self {
        let cluster = lab.cluster("server").await.unwrap().with_istiod(mesh).await.unwrap();
        let proxy = |kind: &str| {
            let name = format!("istio-{kind}");
            Proxy::new("istio-system", &name, &zones.a.socket).label("istio", kind)
        };
        let ingress = cluster.istio_gateway(&proxy("ingressgateway")).await.unwrap();
        cluster.expose_gateway(&ingress, &[("https", 443)]).await.unwrap();
        let east_west = cluster.istio_gateway(&proxy("eastwestgateway")).await.unwrap();
        cluster.expose_gateway(&east_west, &[("tls", 15443)]).await.unwrap();

        let host = lab.host("own").unwrap();
        let own = Application::start("own", host.listen(8443).unwrap(), Some(zones.a.identity().await));
        cluster.create_namespace("demo").await.unwrap();
        cluster.run_pod(&Pod::new("demo", "own", host.address).label("app", "own")).await.unwrap();
        let sidecar = cluster.istio_sidecar(&Proxy::new("demo", "mesh", &zones.a.socket).label("app", "mesh")).await.unwrap();
        let mesh = Application::start("mesh", sidecar.host.listen(8443).unwrap(), None);

        let agent = Agent::start(&cluster, "a.test").await;
        let server = Self { cluster, agent, ingress, east_west, sidecar, _applications: (own, mesh), _host: host };
        server.agent.exports(vec![mtls("own", &["b.test"]), istio_mtls("mesh", &["b.test"])], &server.gateways());
        server
    }

    fn gateways(&self) -> [cofide_agent::view::GatewayService; 2] {
        [gateway(Ingress, &self.ingress, 443), gateway(EastWest, &self.east_west, 15443)]
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [(self.ingress.host.address, 443).into(), (self.east_west.host.address, 15443).into()]
    }

    /// Tries until it is answered so; a failure to the end shows what istiod and the proxies say.
    async fn hears(&self, what: &str, expected: &str, attempt: impl AsyncFnMut() -> Heard) {
        let proxies = [&self.ingress, &self.east_west, &self.sidecar];
        hears(what, expected, &[&self.cluster], &proxies, attempt).await;
    }
}

async fn hears(what: &str, expected: &str, clusters: &[&Cluster], proxies: &[&IstioProxy], mut attempt: impl AsyncFnMut() -> Heard) {
    let as_expected = async || match attempt().await {
        Ok(heard) if heard == expected => Ok(()),
        heard => anyhow::bail!("{heard:?}"),
    };
    let Err(error) = attempts(PATIENCE, as_expected).await else { return };
    for proxy in proxies {
        eprintln!("{}", proxy.envoy.dump().await);
    }
    for cluster in clusters {
        eprintln!("{}", cluster.log());
    }
    panic!("{what}: {error}");
}

fn istio_sni(host: &str) -> String {
    format!("outbound_.8443_._.{host}")
}

#[tokio::test]
async fn clients_without_a_mesh_reach_both_kinds_of_service_through_both_gateways() {
    let lab = Lab::start().unwrap();
    let zones = Zones::start().await;
    let server = Server::start(&lab, &zones).await;
    let (declared, undeclared) = (zones.client(&zones.b).await, zones.client(&zones.c).await);
    let connect = async |address: SocketAddr| anyhow::Ok(TcpStream::connect(address).await?);
    for address in server.addresses() {
        let own = async || declared.over_tls(connect(address).await?, MTLS_HOST, &[]).await;
        server.hears(&format!("Mtls through {address}"), "own to spiffe://b.test/ns/demo/sa/client", own).await;
        let sni = istio_sni(ISTIO_HOST);
        let mesh = async || declared.over_tls(connect(address).await?, &sni, &["istio"]).await;
        server.hears(&format!("IstioMtls through {address}"), "mesh to somebody", mesh).await;

        // Whom the service is not exported to is trusted for TLS, and gets no answer.
        let refused = undeclared.over_tls(connect(address).await.unwrap(), &sni, &["istio"]).await;
        assert!(refused.is_err(), "c.test heard {refused:?}");
        // What is not exported leads nowhere.
        for (sni, alpn) in [("other.demo.a.test", &[][..]), ("outbound_.8443_._.other.demo.a.test", &["istio"]), (ISTIO_HOST, &["istio"])] {
            let nowhere = declared.over_tls(connect(address).await.unwrap(), sni, alpn).await.unwrap_err();
            assert!(format!("{nowhere:#}").starts_with("no TLS"), "{sni}: {nowhere:#}");
        }
    }
    // It is the policy that refuses: exported to it, it is let in.
    let sni = istio_sni(ISTIO_HOST);
    let call = async || undeclared.over_tls(connect(server.addresses()[1]).await?, &sni, &["istio"]).await;
    server.agent.exports(vec![mtls("own", &["b.test"]), istio_mtls("mesh", &["b.test", "c.test"])], &server.gateways());
    server.hears("exported to c.test", "mesh to somebody", call).await;
    server.agent.exports(vec![mtls("own", &["b.test"]), istio_mtls("mesh", &["b.test"])], &server.gateways());
    server.hears("exported to c.test no more", "refused", async || call().await.or_else(|_| Ok("refused".to_owned()))).await;

    // Not even past the gateway.
    let direct: SocketAddr = (server.sidecar.host.address, 8443).into();
    let sni = istio_sni(ISTIO_HOST);
    let refused = undeclared.over_tls(connect(direct).await.unwrap(), &sni, &["istio"]).await;
    assert!(refused.is_err(), "c.test heard {refused:?}");
    let plain = line(connect(direct).await.unwrap()).await;
    assert!(plain.is_err(), "plain text heard {plain:?}");

    // Exported to nobody any more, nobody is let in.
    server.agent.exports(vec![], &server.gateways());
    for (sni, alpn) in [(MTLS_HOST, &[][..]), (sni.as_str(), &["istio"])] {
        let call = async || declared.over_tls(connect(server.addresses()[1]).await?, sni, alpn).await;
        let closed = async || call().await.or_else(|_| Ok("refused".to_owned()));
        server.hears("what is withdrawn is closed", "refused", closed).await;
    }
}

#[tokio::test]
async fn an_istiod_that_validates_trust_domains_lets_mtls_through_and_keeps_everybody_of_another_one_from_istio_mtls() {
    let lab = Lab::start().unwrap();
    let zones = Zones::start().await;
    let mesh = Mesh { validates_trust_domains: true, ..Mesh::new("a.test") };
    let server = Server::start_in(&lab, &zones, &mesh).await;
    let (declared, of_the_mesh) = (zones.client(&zones.b).await, zones.client(&zones.a).await);
    let gateway = server.addresses()[1];
    let connect = async || anyhow::Ok(TcpStream::connect(gateway).await?);
    let own = async || declared.over_tls(connect().await?, MTLS_HOST, &[]).await;
    server.hears("Mtls", "own to spiffe://b.test/ns/demo/sa/client", own).await;
    let sni = istio_sni(ISTIO_HOST);
    // The way is open, to the mesh's own trust domain alone.
    let mesh = async || of_the_mesh.over_tls(connect().await?, &sni, &["istio"]).await;
    server.hears("IstioMtls, of the mesh's own trust domain", "mesh to somebody", mesh).await;
    let refusals = "listener.0.0.0.0_15006.ssl.fail_verify_san";
    let before = server.sidecar.envoy.stat(refusals).await.unwrap();
    let refused = declared.over_tls(connect().await.unwrap(), &sni, &["istio"]).await;
    assert!(refused.is_err(), "b.test heard {refused:?}");
    let is_counted = async || {
        let refused = server.sidecar.envoy.stat(refusals).await?;
        anyhow::ensure!(refused > before, "{refused} refusals");
        Ok("at the handshake".to_owned())
    };
    server.hears("who is refused, and where", "at the handshake", is_counted).await;
}

#[tokio::test]
async fn an_istiod_that_validates_trust_domains_lets_in_those_that_the_agent_lists_and_the_policy_still_decides() {
    let lab = Lab::start().unwrap();
    let zones = Zones::start().await;
    // What the agent writes into a mesh configuration: trust domains without a certificate.
    let managed = Managed {
        trust_domain: zones.a.trust_domain.clone(),
        accepted: Some([&zones.b, &zones.c].map(|zone| zone.trust_domain.clone()).into()),
        added_before: BTreeSet::new(),
    };
    let text = mesh_config::edit("{}", &managed).unwrap().unwrap().text;
    let config = serde_saphyr::from_str(&text).unwrap();
    let mesh = Mesh { validates_trust_domains: true, config, ..Mesh::new("cluster.local") };
    let server = Server::start_in(&lab, &zones, &mesh).await;
    let (declared, undeclared) = (zones.client(&zones.b).await, zones.client(&zones.c).await);
    let gateway = server.addresses()[1];
    let sni = istio_sni(ISTIO_HOST);
    let call = async |client: &Client| client.over_tls(TcpStream::connect(gateway).await?, &sni, &["istio"]).await;
    server.hears("IstioMtls, of a trust domain that is listed", "mesh to somebody", async || call(&declared).await).await;
    // c.test passes the handshake too, and is no more let in than before, once the policy has reached the sidecar.
    let closed = async || call(&undeclared).await.or_else(|_| Ok("refused".to_owned()));
    server.hears("IstioMtls, of one to which it is not exported", "refused", closed).await;
    assert_eq!(server.sidecar.envoy.stat("listener.0.0.0.0_15006.ssl.fail_verify_san").await.unwrap(), 0);
}

/// The agent's xDS in a cluster without a mesh, and an Envoy that it programs.
struct Plain {
    envoy: Envoy,
    /// Where it listens for each import.
    addresses: BTreeMap<Hostname, Ipv4Addr>,
    _stop: DropGuard,
}

impl Plain {
    async fn start(zone: &Zone, imports: &[ImportedService]) -> Self {
        let resolver = (Ipv4Addr::LOCALHOST, 0).into();
        let settings = SidecarSettings { pool: "127.64.0.0/10".parse().unwrap(), resolver, fallback_resolvers: [].into() };
        // The zones of this test name their bundles for meshes.
        let xds = XdsService::with_bundles(settings, TrustBundles::RootCa);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = |index: usize| Ipv4Addr::new(127, 64 + high % 64, low, u8::try_from(index).unwrap() + 201);
        let addresses: BTreeMap<_, _> =
            imports.iter().enumerate().map(|(index, import)| (import.hostname.clone(), address(index))).collect();
        let unused = (Ipv4Addr::LOCALHOST, 1).into();
        xds.publish_imports(desired(unused, [], imports.to_vec(), &addresses).imports);
        let listener = tokio::net::TcpListener::bind((address(50), 0)).await.unwrap();
        let xds_address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tonic::transport::Server::builder().add_service(xds.server(stop.clone()).aggregated());
        tokio::spawn(server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned()));
        let bootstrap = EnvoyBootstrap {
            role: Role::Client,
            node_id: None,
            xds_address: xds_address.into(),
            workload_api_socket: zone.socket.clone(),
            admin_address: None,
            ready_address: None,
        };
        let envoy = Envoy::start(bootstrap).await.unwrap();
        Self { envoy, addresses, _stop: stop.drop_guard() }
    }

    async fn connect(&self, host: &str) -> anyhow::Result<TcpStream> {
        Ok(TcpStream::connect((self.addresses[&host.parse::<Hostname>()?], 8443)).await?)
    }
}

#[tokio::test]
async fn an_envoy_of_ours_reaches_both_kinds_of_service_through_each_gateway() {
    let lab = Lab::start().unwrap();
    let zones = Zones::start().await;
    let server = Server::start(&lab, &zones).await;
    for gateway in server.gateways() {
        let through = [gateway];
        let imports = [import(&mtls("own", &[]), &through), import(&istio_mtls("mesh", &[]), &through)];
        let plain = Plain::start(&zones.b, &imports).await;
        let own = async || line(plain.connect(MTLS_HOST).await?).await;
        server.hears("Mtls", "own to spiffe://b.test/ns/demo/sa/client", own).await;
        let mesh = async || line(plain.connect(ISTIO_HOST).await?).await;
        server.hears("IstioMtls", "mesh to somebody", mesh).await;
        let client = zones.client(&zones.b).await;
        let own = async || client.over_tls(plain.connect(MTLS_HOST).await?, MTLS_HOST, &[]).await;
        server.hears("Mtls with TLS of its own", "own to spiffe://b.test/ns/demo/sa/client", own).await;
        drop(plain);

        // The same Envoy with the identity of a zone to which nothing is exported.
        let intruder = Plain::start(&zones.c, &imports).await;
        let refused = "cluster.mesh.demo.a.test_cluster.upstream_cx_total";
        let attempt = async || {
            let heard = line(intruder.connect(ISTIO_HOST).await?).await;
            if heard.is_err() && intruder.envoy.stat(refused).await? > 0 { Ok("refused".to_owned()) } else { heard }
        };
        server.hears("a zone to which nothing is exported", "refused", attempt).await;
    }
}

#[tokio::test]
async fn a_mesh_goes_around_a_gateway_that_dies() {
    let lab = Lab::start().unwrap();
    let zones = Zones::start().await;
    let (server, importer) = tokio::join!(Server::start(&lab, &zones), Importer::start(&lab, &zones));
    // As if two clusters had one each.
    let gateways = [gateway(EastWest, &server.ingress, 443), gateway(EastWest, &server.east_west, 15443)];
    importer.agent.imports(&[import(&mtls("own", &[]), &gateways), import(&istio_mtls("mesh", &[]), &gateways)]);
    let both = async || {
        for _ in 0..10 {
            http(importer.connect(MTLS_HOST).await?, MTLS_HOST).await?;
            line(importer.connect(ISTIO_HOST).await?).await?;
        }
        Ok("well".to_owned())
    };
    let (clusters, proxies) = ([&server.cluster, &importer.cluster], [&importer.sidecar]);
    hears("both gateways are used", "well", &clusters, &proxies, both).await;
    for proxy in [&server.ingress, &server.east_west] {
        let used = proxy.envoy.admin("/stats?filter=downstream_cx_total").await.unwrap();
        assert!(used.lines().any(|line| line.contains("listener.0.0.0.0_") && !line.ends_with(": 0")), "{used}");
    }
    // Its open connections break, and nobody listens there any more.
    drop(server.ingress);
    hears("the other one serves everything", "well", &clusters, &proxies, both).await;
}

#[tokio::test]
async fn a_mesh_resolves_the_names_of_gateways() {
    let lab = Lab::start().unwrap();
    lab.set_resolver(lab.address());
    let (zone, stop) = (ZoneHandle::new(), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let _resolver =
        cofide_dns::serve(&[(lab.address(), 53).into()], zone.clone(), Upstream::Servers(vec![(Ipv4Addr::LOCALHOST, 9).into()]), stop)
            .await
            .unwrap();
    let zones = Zones::start().await;
    let (server, importer) = tokio::join!(Server::start(&lab, &zones), Importer::start(&lab, &zones));
    let name: Hostname = "gateway.example.test".parse().unwrap();
    zone.set([(name.clone(), server.east_west.host.address)].into());
    let named = |mut import: ImportedService| {
        for imported in &mut import.gateways {
            imported.gateway.address = cofide_core::GatewayAddress::Hostname(name.clone());
        }
        import
    };
    let gateways = &server.gateways()[1..];
    importer.agent.imports(&[named(import(&mtls("own", &[]), gateways)), named(import(&istio_mtls("mesh", &[]), gateways))]);
    let (clusters, proxies) = ([&server.cluster, &importer.cluster], [&importer.sidecar, &server.east_west]);
    let attempt = async || http(importer.connect(MTLS_HOST).await?, MTLS_HOST).await;
    hears("Mtls", "own to spiffe://b.test/ns/demo/sa/client", &clusters, &proxies, attempt).await;
    let attempt = async || line(importer.connect(ISTIO_HOST).await?).await;
    hears("IstioMtls", "mesh to somebody", &clusters, &proxies, attempt).await;
}

/// A mesh that imports.
struct Importer {
    cluster: Cluster,
    agent: Agent,
    sidecar: IstioProxy,
}

impl Importer {
    async fn start(lab: &Lab, zones: &Zones) -> Self {
        let cluster = lab.cluster("client").await.unwrap().with_istiod(&Mesh::new("b.test")).await.unwrap();
        let mut proxy = Proxy::new("demo", "client", &zones.b.socket).label("app", "client");
        // As where pilot-agent resolves names: only then a host has an address of its own.
        proxy.metadata.insert("DNS_CAPTURE".into(), "true".into());
        let sidecar = cluster.istio_sidecar(&proxy).await.unwrap();
        let agent = Agent::start(&cluster, "b.test").await;
        Self { cluster, agent, sidecar }
    }

    /// What Istio's resolver would answer.
    async fn address_of(&self, host: &str) -> anyhow::Result<SocketAddr> {
        let kind = cofide_k8s_api::istio::kinds().into_iter().find(|kind| kind.kind == "ServiceEntry").unwrap();
        let entries: kube::Api<kube::api::DynamicObject> = kube::Api::namespaced_with(self.cluster.client()?, "cofide", &kind);
        let entries = entries.list(&Default::default()).await?;
        let entry = entries.iter().find(|entry| entry.data["spec"]["hosts"][0] == host);
        let entry = entry.ok_or_else(|| anyhow::anyhow!("no ServiceEntry has {host}"))?;
        let addresses = entry.data["status"]["addresses"].as_array().cloned().unwrap_or_default();
        let v4 = addresses.iter().filter_map(|address| address["value"].as_str()).find(|address| !address.contains(':'));
        let v4 = v4.ok_or_else(|| anyhow::anyhow!("{host} has no address: {addresses:?}"))?;
        Ok(format!("{v4}:8443").parse()?)
    }

    async fn connect(&self, host: &str) -> anyhow::Result<TcpStream> {
        self.sidecar.host.connect(self.address_of(host).await?).await
    }
}

#[tokio::test]
async fn clients_of_a_mesh_reach_both_kinds_of_service_with_plain_text_and_with_tls_of_their_own() {
    let lab = Lab::start().unwrap();
    let zones = Zones::start().await;
    let (server, importer) = tokio::join!(Server::start(&lab, &zones), Importer::start(&lab, &zones));
    let gateways = server.gateways();
    let imports = [import(&mtls("own", &[]), &gateways), import(&istio_mtls("mesh", &[]), &gateways)];
    importer.agent.imports(&imports);
    let client = zones.client(&zones.b).await;

    let (clusters, proxies) = ([&server.cluster, &importer.cluster], [&importer.sidecar, &server.east_west, &server.sidecar]);
    let peer = "own to spiffe://b.test/ns/demo/sa/client";
    let attempt = async || http(importer.connect(MTLS_HOST).await?, MTLS_HOST).await;
    hears("plain HTTP to Mtls", peer, &clusters, &proxies, attempt).await;
    let attempt = async || client.over_tls(importer.connect(MTLS_HOST).await?, MTLS_HOST, &[]).await;
    hears("TLS of its own to Mtls", peer, &clusters, &proxies, attempt).await;
    let attempt = async || line(importer.connect(ISTIO_HOST).await?).await;
    hears("plain text to IstioMtls", "mesh to somebody", &clusters, &proxies, attempt).await;
    let attempt = async || http(importer.connect(ISTIO_HOST).await?, ISTIO_HOST).await;
    hears("plain HTTP to IstioMtls", "mesh to somebody", &clusters, &proxies, attempt).await;
}

#[tokio::test]
async fn a_sidecar_takes_nobody_for_the_server_who_is_not_of_its_trust_domain() {
    let lab = Lab::start().unwrap();
    let zones = Zones::start().await;
    let importer = Importer::start(&lab, &zones).await;
    // All trust c.test, and it answers where a.test should.
    let (right, wrong) = (lab.host("right").unwrap(), lab.host("wrong").unwrap());
    let _right = Application::start("right", right.listen(15443).unwrap(), Some(zones.a.identity().await));
    let _wrong = Application::start("wrong", wrong.listen(15443).unwrap(), Some(zones.c.identity().await));
    let through = |service: &ServiceObject, host: &Host, paths: &[&str]| {
        let address = cofide_core::GatewayAddress::Ip(host.address.into());
        let gateway = cofide_core::Gateway { kind: EastWest, address, port: cofide_core::Port::try_from(15443).unwrap() };
        let mut import = import(service, &[]);
        import.gateways = vec![cofide_core::ImportedGateway { gateway, cluster_name: "one".parse().unwrap() }];
        import.spiffe_id_paths = paths.iter().map(|path| path.parse().unwrap()).collect();
        import
    };
    let peer = "right to spiffe://b.test/ns/demo/sa/client";
    for (service, subset) in [(mtls("own", &[]), "mtls"), (istio_mtls("mesh", &[]), "")] {
        let host_name = &service.spec.as_ref().unwrap().hostname.to_string();
        let statistic = format!("cluster.outbound|8443|{subset}|{host_name};.ssl.fail_verify_san");
        let refusals = async || importer.sidecar.envoy.stat(&statistic).await;
        let ask = async || {
            let before = refusals().await.unwrap_or_default();
            let heard = http(importer.connect(host_name).await?, host_name).await;
            if heard.is_err() && refusals().await? > before { Ok("refused".to_owned()) } else { heard }
        };
        for (what, host, paths, expected) in [
            ("the right trust domain", &right, &[][..], peer),
            ("the wrong trust domain", &wrong, &[], "refused"),
            ("the right path", &right, &["/ns/demo/sa/server"], peer),
            ("the wrong path", &right, &["/ns/demo/sa/other"], "refused"),
        ] {
            importer.agent.imports(&[through(&service, host, paths)]);
            hears(&format!("{host_name}: {what}"), expected, &[&importer.cluster], &[&importer.sidecar], ask).await;
        }
    }
}
