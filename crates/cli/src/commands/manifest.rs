//! `cofidectl federated-service create` and `export`: manifests for kubectl, made without asking anybody.
//!
//! A manifest is checked by the rules of the agent before it is printed, so that what is wrong is told here and not by a condition in
//! the cluster. Applying it is kubectl's business: it knows the cluster, and whose credential to use there.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use cofide_core::{TrustDomain, parse_trust_domain};
use cofide_k8s_api::federated_service::{API_VERSION, KIND};
use cofide_k8s_api::{FederatedService, FederatedServiceSpec, Object, ObjectMeta, Read, read_manifests};
use serde::{Deserialize, Serialize};

use crate::args::federated_service::{CreateArgs, ExportArgs};
use crate::error::{Error, Result};
use crate::printer::{Format, Printer};

/// Far above what a cluster of thousands of Services says about them.
const MAX_INPUT: u64 = 256 << 20;

pub(super) fn create(args: &CreateArgs, printer: &mut Printer<'_>) -> Result<()> {
    let services = match &args.file {
        Some(file) => of_file(file, args.trust_domain.as_ref(), printer)?,
        None => {
            let service = of_flags(args);
            check(&Read { object: service.clone(), problems: Vec::new() }, args.trust_domain.as_ref())?;
            vec![service]
        }
    };
    print(&services, printer)
}

fn of_flags(args: &CreateArgs) -> FederatedService {
    let (name, namespace) = (args.name.clone().unwrap_or_default(), args.namespace.clone().unwrap_or_default());
    FederatedService {
        metadata: ObjectMeta { name: name.clone(), namespace: namespace.clone(), ..ObjectMeta::default() },
        spec: FederatedServiceSpec {
            name,
            namespace,
            exported_trust_domains: args.export_to.clone(),
            workload_labels: args.labels.clone().unwrap_or_default(),
            port: args.port.unwrap_or_default().into(),
            tls_mode: args.tls_mode.clone().unwrap_or_default(),
            spiffe_id_paths: args.spiffe_id_path.clone(),
            gateways: args.gateway.clone(),
        },
        status: None,
    }
}

/// All that is wrong in the file is told at once.
fn of_file(file: &Path, own: Option<&TrustDomain>, printer: &mut Printer<'_>) -> Result<Vec<FederatedService>> {
    let (mut services, mut wrong) = (Vec::new(), Vec::new());
    for manifest in read_manifests(&input(file)?) {
        match manifest.map(|manifest| manifest.object) {
            Ok(Object::FederatedService(service)) => match check(&service, own) {
                Ok(()) => services.push(service.object),
                Err(error) => wrong.push(error.to_string()),
            },
            Ok(Object::WorkloadEntry(entry)) => printer.say(&format!("WorkloadEntry {} is left out", entry.object.metadata.name))?,
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if !wrong.is_empty() {
        return Err(Error::failed(format!("{}: {}", file.display(), wrong.join("\n"))));
    }
    if services.is_empty() {
        return Err(Error::failed(format!("{} holds no FederatedService", file.display())));
    }
    Ok(services)
}

/// By the rules of the agent. Where the cluster's own trust domain is not known, those that are about it are passed over.
fn check(service: &Read<FederatedService>, own: Option<&TrustDomain>) -> Result<()> {
    let anywhere = parse_trust_domain("cluster.invalid").expect("it is the name of a trust domain");
    let Err(problems) = service.check(own.unwrap_or(&anywhere)) else { return Ok(()) };
    let ObjectMeta { namespace, name, .. } = &service.object.metadata;
    let problems: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    Err(Error::failed(format!("FederatedService {namespace}/{name} is not valid:{}", problems.concat())))
}

/// What we need of a Service.
#[derive(Debug, Deserialize)]
struct Service {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    #[serde(rename = "type")]
    kind: Option<String>,
    selector: Option<BTreeMap<String, String>>,
    ports: Vec<ServicePort>,
}

#[derive(Debug, Deserialize)]
struct ServicePort {
    name: Option<String>,
    port: i32,
    protocol: Option<String>,
}

/// A list as kubectl prints it, or one Service.
#[derive(Debug, Deserialize)]
struct Services {
    kind: String,
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

impl Service {
    /// As a person names it.
    fn is(&self, name: &str) -> bool {
        match name.split_once('/') {
            Some((namespace, name)) => self.metadata.namespace == namespace && self.metadata.name == name,
            None => self.metadata.name == name,
        }
    }

    /// The FederatedService that exports it, or why there cannot be one.
    fn export(&self, args: &ExportArgs) -> Result<FederatedService, String> {
        if self.spec.kind.as_deref() == Some("ExternalName") {
            return Err("it is a name of something elsewhere (ExternalName)".to_owned());
        }
        let Some(selector) = self.spec.selector.as_ref().filter(|selector| !selector.is_empty()) else {
            return Err("it has no selector, so its pods are not known".to_owned());
        };
        let tcp: Vec<_> = self.spec.ports.iter().filter(|port| matches!(port.protocol.as_deref(), None | Some("TCP"))).collect();
        let is_wanted = |port: &&&ServicePort| match &args.port {
            Some(wanted) => port.name.as_ref() == Some(wanted) || port.port.to_string() == *wanted,
            None => true,
        };
        let port = match tcp.iter().filter(is_wanted).collect::<Vec<_>>().as_slice() {
            [port] => port.port,
            [] if tcp.is_empty() => return Err("it has no TCP port".to_owned()),
            _ => {
                let name = |port: &&ServicePort| port.name.as_ref().map_or(port.port.to_string(), |name| format!("{} ({name})", port.port));
                let ports = tcp.iter().map(name).collect::<Vec<_>>().join(", ");
                return Err(format!("its ports are {ports}; choose one of them with --port"));
            }
        };
        let ObjectMeta { name, namespace, .. } = &self.metadata;
        let service = FederatedService {
            metadata: ObjectMeta { name: name.clone(), namespace: namespace.clone(), ..ObjectMeta::default() },
            spec: FederatedServiceSpec {
                name: name.clone(),
                namespace: namespace.clone(),
                exported_trust_domains: args.export_to.clone(),
                workload_labels: selector.clone(),
                port,
                tls_mode: args.tls_mode.clone(),
                ..FederatedServiceSpec::default()
            },
            status: None,
        };
        check(&Read { object: service.clone(), problems: Vec::new() }, None).map_err(|error| error.to_string())?;
        Ok(service)
    }
}

pub(super) fn export(args: &ExportArgs, printer: &mut Printer<'_>) -> Result<()> {
    let services = services(&args.file)?;
    let chosen: Vec<&Service> = if args.all {
        services.iter().collect()
    } else {
        let missing: Vec<_> = args.services.iter().filter(|name| !services.iter().any(|service| service.is(name))).collect();
        if let Some(name) = missing.first() {
            let there: Vec<_> =
                services.iter().map(|service| format!("{}/{}", service.metadata.namespace, service.metadata.name)).collect();
            let error = Error::failed(format!("Service {name} is not in {}", args.file.display()));
            return Err(error.hint(format!("there are {}", there.join(", "))));
        }
        services.iter().filter(|service| args.services.iter().any(|name| service.is(name))).collect()
    };
    let (mut exported, mut refused) = (Vec::new(), Vec::new());
    for service in chosen {
        match service.export(args) {
            Ok(manifest) => exported.push(manifest),
            Err(reason) => refused.push(format!("Service {}/{}: {reason}", service.metadata.namespace, service.metadata.name)),
        }
    }
    // Who names a Service wants it; who wants all wants those that can be.
    if exported.is_empty() || !(args.all || refused.is_empty()) {
        let reasons = if refused.is_empty() { format!("{} holds no Service", args.file.display()) } else { refused.join("\n") };
        return Err(Error::failed(reasons));
    }
    for refusal in refused {
        printer.say(&format!("left out: {refusal}"))?;
    }
    print(&exported, printer)
}

fn services(file: &Path) -> Result<Vec<Service>> {
    let wrong = |reason: String| {
        let error = Error::failed(format!("{} is not what kubectl prints: {reason}", file.display()));
        error.hint("kubectl get services --namespace NAMESPACE -o json")
    };
    let text = input(file)?;
    // JSON is YAML too, but large lists are not read as fast.
    let value: serde_json::Value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(_) => serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?,
    };
    let list: Services = serde_json::from_value(value.clone()).map_err(|error| wrong(error.to_string()))?;
    let items = match list.kind.as_str() {
        "List" | "ServiceList" => list.items,
        "Service" => vec![value],
        other => return Err(wrong(format!("it is a {other} and not a list of Services"))),
    };
    // The items of a ServiceList have no kind of their own; those of a List may be of another.
    let is_service = |item: &serde_json::Value| item["kind"].as_str().is_none_or(|kind| kind == "Service");
    let service = |item| serde_json::from_value(item).map_err(|error| wrong(error.to_string()));
    items.into_iter().filter(is_service).map(service).collect()
}

fn input(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(MAX_INPUT).read_to_string(&mut text))
    };
    read.map_err(|error| Error::failed(format!("cannot read {}: {error}", file.display())))?;
    Ok(text)
}

/// As a file has it: the kind first, and no status.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a ObjectMeta,
    spec: &'a FederatedServiceSpec,
}

/// YAML documents; with `--output json` one object or a List, for kubectl takes both.
fn print(services: &[FederatedService], printer: &mut Printer<'_>) -> Result<()> {
    let documents: Vec<_> = (services.iter())
        .map(|FederatedService { metadata, spec, .. }| Document { api_version: API_VERSION, kind: KIND, metadata, spec })
        .collect();
    let unprintable = |error: &dyn std::fmt::Display| Error::failed(format!("cannot write the manifest: {error}"));
    let text = match (printer.format, documents.as_slice()) {
        (Format::Json, [one]) => serde_json::to_string_pretty(one).map_err(|error| unprintable(&error))? + "\n",
        (Format::Json, several) => {
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": several });
            serde_json::to_string_pretty(&list).map_err(|error| unprintable(&error))? + "\n"
        }
        (Format::Table | Format::Yaml, documents) => {
            let texts = documents.iter().map(|document| serde_saphyr::to_string(document).map_err(|error| unprintable(&error)));
            texts.collect::<Result<Vec<_>>>()?.iter().map(|text| format!("---\n{}\n", text.trim_end())).collect()
        }
    };
    printer.data(&text)
}
