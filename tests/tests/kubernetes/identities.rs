//! Who a server may be: the SPIFFE ID paths that a FederatedService names.

use anyhow::{Result, bail, ensure};
use cofide_testkit::envoy::Envoy;
use serde_json::{Value, json};

use crate::support::{EXPORTED, Server, Speaks, World, federated_service};

/// With the paths as its owner writes them: the slash at the beginning may be left out.
fn at(mut service: Value, path: &str) -> Value {
    service["spec"]["spiffeIDPaths"] = json!([path]);
    service
}

/// Waits until a proxy refuses the server for its SPIFFE ID: the call fails, and the proxy has counted why.
async fn is_refused(world: &World, what: &str, proxy: &Envoy, statistic: &str, call: impl AsyncFn() -> Result<String>) {
    world
        .until(what, async || {
            let before = proxy.stat(statistic).await?;
            match call().await {
                Ok(answer) => bail!("it is answered: {answer}"),
                Err(error) => {
                    let refused = proxy.stat(statistic).await?;
                    ensure!(refused > before, "not for its identity: {error:#}");
                    Ok(())
                }
            }
        })
        .await;
}

pub(crate) async fn an_envoy_takes_only_a_server_with_a_named_path_and_the_slash_before_it_may_be_left_out(world: &World) {
    let World { lab, server, plain, .. } = world;
    let _pod = Server::start(lab, server, "pinned", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let service = federated_service("pinned", "server", "server", 8443, "Mtls");
    let name = "server.pinned.local.domain:8443";
    let call = async || world.outside.ping_plain(plain, name).await;
    let refusals = "cluster.server.pinned.local.domain_cluster.ssl.fail_verify_san";
    for (right, wrong) in [("ns/demo/sa/server", "ns/demo/sa/other"), ("/ns/demo/sa/server", "/ns/demo/sa/server/other")] {
        server.cluster.apply(&at(service.clone(), right)).await.unwrap();
        world.until(&format!("a server with the path {right}"), call).await;
        server.cluster.apply(&at(service.clone(), wrong)).await.unwrap();
        is_refused(world, &format!("a server without the path {wrong}"), world.outside.proxy.as_ref().unwrap(), refusals, call).await;
    }
}

pub(crate) async fn where_sidecars_terminate_tls_both_kinds_of_client_take_only_a_server_with_a_named_path(world: &World) {
    let World { server, client, plain, .. } = world;
    let _pod = Server::with_sidecar(server, "pinned-mesh", "server", 8080, Speaks::Plain).await.unwrap();
    let service = federated_service("pinned-mesh", "server", "server", 8080, "IstioMtls");
    let (host, name) = ("server.pinned-mesh.local.domain", "server.pinned-mesh.local.domain:8080");
    let from_outside = async || world.outside.ping_plain(plain, name).await;
    let from_mesh = async || world.in_mesh.ping_plain(client, name).await;
    for (right, wrong) in [("ns/demo/sa/proxy", "ns/demo/sa/server"), ("/ns/demo/sa/proxy", "/ns/demo/sa/proxy/other")] {
        server.cluster.apply(&at(service.clone(), right)).await.unwrap();
        world.until(&format!("from outside, with the path {right}"), from_outside).await;
        world.until(&format!("from a mesh, with the path {right}"), from_mesh).await;
        server.cluster.apply(&at(service.clone(), wrong)).await.unwrap();
        let (envoy, sidecar) = (world.outside.proxy.as_ref().unwrap(), &world.in_mesh.sidecar().unwrap().envoy);
        is_refused(world, "from outside", envoy, &format!("cluster.{host}_cluster.ssl.fail_verify_san"), from_outside).await;
        is_refused(world, "from a mesh", sidecar, &format!("cluster.outbound|8080||{host};.ssl.fail_verify_san"), from_mesh).await;
    }
}
