//! The server of the ping-pong example, in a pod behind a Service.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{Site, program};
use crate::lab::{Host, IstioProxy, Lab, Pod, Process, Proxy};

/// How it speaks.
#[derive(Clone, Copy, Debug)]
pub enum Speaks<'a> {
    /// mTLS itself, with whoever is of these trust domains.
    Mtls(&'a [&'a str]),
    /// Plain text.
    Plain,
}

/// A pod, its Service, and the program in it.
pub struct Server {
    process: Process,
    place: Place,
}

#[expect(clippy::large_enum_variant, reason = "there is a handful of them in a whole run")]
enum Place {
    Alone(Host),
    WithSidecar(IstioProxy),
}

impl Server {
    /// A pod named and labelled `app`, alone.
    pub async fn start(lab: &Lab, site: &Site, namespace: &str, app: &str, port: u16, speaks: Speaks<'_>) -> Result<Self> {
        let host = lab.host(app)?;
        let pod = Pod::new(namespace, app, host.address).label("app", app);
        site.cluster.create_namespace(namespace).await?;
        site.cluster.run_pod(&pod).await?;
        Self::serve(site, Place::Alone(host), &pod, port, speaks).await
    }

    /// A pod with a sidecar.
    pub async fn with_sidecar(site: &Site, namespace: &str, app: &str, port: u16, speaks: Speaks<'_>) -> Result<Self> {
        // Whoever does TLS itself leaves nothing to the sidecar for which that would need certificates of the trust zone.
        let sds = if matches!(speaks, Speaks::Plain) { &site.workload_api } else { &site.istio_sds };
        let proxy = Proxy::new(namespace, app, sds).label("app", app);
        let sidecar = site.cluster.istio_sidecar(&proxy).await?;
        let pod = Pod::new(namespace, app, sidecar.host.address).label("app", app).label("security.istio.io/tlsMode", "istio");
        Self::serve(site, Place::WithSidecar(sidecar), &pod, port, speaks).await
    }

    async fn serve(site: &Site, place: Place, pod: &Pod, port: u16, speaks: Speaks<'_>) -> Result<Self> {
        let app = &pod.labels["app"];
        let mut command = place.host().command(program("ping-pong-server")?);
        command.arg("--listen").arg(format!("0.0.0.0:{port}"));
        command.arg("--workload-api").arg(format!("unix:{}", site.workload_api.display()));
        match speaks {
            Speaks::Plain => {
                command.args(["--mode", "plain", "--name", app]);
            }
            Speaks::Mtls(admitted) => {
                command.args(["--mode", "mtls"]).args(admitted.iter().flat_map(|peer| ["--admit", peer]));
            }
        }
        let process = place.host().start("server", command)?;
        site.serve_behind(&pod.namespace, app, place.host().address, port).await?;
        Ok(Self { process, place })
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn address(&self) -> Ipv4Addr {
        self.place.host().address
    }

    pub fn sidecar(&self) -> Option<&IstioProxy> {
        match &self.place {
            Place::Alone(_) => None,
            Place::WithSidecar(sidecar) => Some(sidecar),
        }
    }
}

impl Place {
    fn host(&self) -> &Host {
        match self {
            Self::Alone(host) => host,
            Self::WithSidecar(sidecar) => &sidecar.host,
        }
    }
}
