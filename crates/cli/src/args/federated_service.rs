//! `cofidectl federated-service`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use cofide_core::{Gateway, GatewayAddress, GatewayKind, Port, TrustDomain};
use cofide_k8s_api::GatewaySpec;

use super::trust_zone::trust_domain;

#[derive(Subcommand, Debug)]
pub enum FederatedServiceCommand {
    /// List the services that clusters export
    #[command(after_help = "Example:\n  cofidectl federated-service list --exported-to b.example")]
    List(ListArgs),
    /// Show one service; with several clusters behind one hostname, all of them
    #[command(after_help = "Example:\n  cofidectl federated-service get server.demo.a.example")]
    Get(GetArgs),
    /// Print the manifest of a service to export, checked as the agent checks it; nothing is sent anywhere
    #[command(
        after_help = "Examples:\n  cofidectl federated-service create --name server --namespace demo \\\n      --export-to b.example,c.example \
                            --labels app=ping-pong-server \\\n      --port 8443 --tls-mode Mtls | kubectl apply -f -\n\n  cofidectl \
                            federated-service create --file ping-pong.yaml > checked.yaml"
    )]
    Create(Box<CreateArgs>),
    /// Print manifests that export Services of a cluster, from what kubectl says about them; nothing is sent anywhere
    #[command(after_help = "Examples:\n  kubectl get services --namespace demo -o json |\n    cofidectl federated-service export server \
                            --export-to b.example \\\n      --tls-mode Mtls | kubectl apply -f -\n\n  kubectl get services --namespace demo -o \
                            json > services.json\n  cofidectl federated-service export --all --file services.json \\\n      --export-to \
                            b.example --tls-mode IstioMtls")]
    Export(ExportArgs),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only services of this trust domain
    #[arg(long, value_name = "DOMAIN", value_parser = trust_domain)]
    pub trust_domain: Option<TrustDomain>,
    /// Only services that are exported to this trust domain
    #[arg(long, value_name = "DOMAIN", value_parser = trust_domain)]
    pub exported_to: Option<TrustDomain>,
}

#[derive(Args, Debug)]
pub struct GetArgs {
    /// Hostname or id
    pub hostname: String,
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Check the FederatedServices of this file instead of making one; - for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "namespace", "export_to", "labels", "port", "tls_mode", "spiffe_id_path", "gateway"])]
    pub file: Option<PathBuf>,
    /// First part of the hostname that remote clients connect to
    #[arg(long, required_unless_present = "file")]
    pub name: Option<String>,
    /// Namespace of the workload, and second part of the hostname
    #[arg(long, required_unless_present = "file")]
    pub namespace: Option<String>,
    /// Trust domains whose workloads may use it, comma-separated or repeated
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', required_unless_present = "file")]
    pub export_to: Vec<String>,
    /// Labels of the pods behind it, as in app=server,tier=front
    #[arg(long, value_name = "LABELS", value_parser = labels, required_unless_present = "file")]
    pub labels: Option<Labels>,
    /// Port that the server listens on
    #[arg(long, required_unless_present = "file", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Who terminates TLS: the application (Mtls) or its sidecar (IstioMtls)
    #[arg(long, value_name = "MODE", value_parser = TLS_MODES, required_unless_present = "file")]
    pub tls_mode: Option<String>,
    /// Path of a SPIFFE ID that the server may have, repeated for several; any of its trust domain where none is given
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    pub spiffe_id_path: Vec<String>,
    /// A gateway instead of those that are discovered, as in istio-ingressgateway=gw.example.com:443; can be repeated
    #[arg(long, value_name = "TYPE=HOST:PORT", value_parser = gateway)]
    pub gateway: Vec<GatewaySpec>,
    /// Trust domain of the cluster, to check the manifest against it too
    #[arg(long, value_name = "DOMAIN", value_parser = trust_domain)]
    pub trust_domain: Option<TrustDomain>,
}

#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Services to export, as NAME or NAMESPACE/NAME
    #[arg(value_name = "SERVICE", required_unless_present = "all")]
    pub services: Vec<String>,
    /// Export all that can be exported; which cannot is told
    #[arg(long, conflicts_with = "services")]
    pub all: bool,
    /// What kubectl get services -o json or -o yaml printed; - for stdin
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Trust domains whose workloads may use them, comma-separated or repeated
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', required = true)]
    pub export_to: Vec<String>,
    /// Who terminates TLS: the application (Mtls) or its sidecar (IstioMtls)
    #[arg(long, value_name = "MODE", value_parser = TLS_MODES)]
    pub tls_mode: String,
    /// Which port, of Services that have several; a number or a name
    #[arg(long)]
    pub port: Option<String>,
}

const TLS_MODES: [&str; 2] = ["Mtls", "IstioMtls"];

pub type Labels = BTreeMap<String, String>;

/// As kubectl takes them, equality alone: the pods are found by what a Service selects.
fn labels(text: &str) -> Result<Labels, String> {
    let selector = crate::label_selector::parse(text)?;
    match selector.match_expressions.first() {
        Some(expression) => Err(format!("{} is not a label and a value; write labels as in app=server,tier=front", expression.key)),
        None => Ok(selector.match_labels),
    }
}

fn gateway(text: &str) -> Result<GatewaySpec, String> {
    let form = "write it as in istio-ingressgateway=gw.example.com:443";
    let (kind, address) = text.split_once('=').ok_or_else(|| format!("{text:?} names no type; {form}"))?;
    let kind: GatewayKind = kind.parse().map_err(|error| format!("{error}; {form}"))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("{address:?} names no port; {form}"))?;
    let port = port.parse::<i64>().map_err(|_| format!("{port:?} is not a port; {form}"))?;
    let port = Port::try_from(port).map_err(|error| error.to_string())?;
    let ip = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let address = match ip.parse() {
        Ok(ip) => GatewayAddress::Ip(ip),
        Err(_) => GatewayAddress::from_fields(host, "").map_err(|error| error.to_string())?,
    };
    Ok((&Gateway { kind, address, port }).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_type_an_address_and_a_port() {
        let text = |gateway: GatewaySpec| format!("{} {:?} {:?} {}", gateway.kind, gateway.hostname, gateway.ip, gateway.port);
        let read = |given: &str| gateway(given).map(text);
        assert_eq!(read("istio-ingressgateway=gw.example.com:443").unwrap(), "istio-ingressgateway Some(\"gw.example.com\") None 443");
        assert_eq!(read("istio-eastwestgateway=1.2.3.4:4321").unwrap(), "istio-eastwestgateway None Some(\"1.2.3.4\") 4321");
        assert_eq!(read("istio-eastwestgateway=[2001:db8::1]:1").unwrap(), "istio-eastwestgateway None Some(\"2001:db8::1\") 1");
        for bad in [
            "gw.example.com:443",
            "gateway=gw.example.com:443",
            "istio-ingressgateway=gw",
            "istio-ingressgateway=gw:0",
            "istio-ingressgateway=a b:1",
        ] {
            assert!(gateway(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_are_those_that_a_service_can_select() {
        assert_eq!(labels("app=server,tier=front").unwrap().len(), 2);
        assert!(labels("tier in (a,b)").unwrap_err().contains("app=server"));
        assert!(labels("app=a b").is_err());
    }
}
