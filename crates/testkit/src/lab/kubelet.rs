//! What the controllers and a kubelet would do with a Deployment: one pod, whose containers are processes in a namespace.
//!
//! There are no images and no mounts. The program of a container is the first word of its command, or else the last word of the
//! image's repository. Where a container would find a volume at a path, that path is replaced by a folder's: in arguments, in the
//! environment, and in the files of ConfigMaps and Secrets.
//!
//! A Service has no address of its own. Its name leads to a pod behind it (`/etc/hosts` of the pods that start later), and that
//! pod takes connections at the Service's port too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Secret, Service, ServicePort, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::claim::Joined;
use super::cluster::service_account_kubeconfig;
use super::network::{Host, Network, files_of};
use super::objects;
use super::process::Process;
use super::{PARENT, Pod};

/// Far beyond what a start takes, for a machine that compiles at the same time.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// Starts the pods of one cluster.
#[derive(Clone)]
pub struct Kubelet {
    pub(super) client: Client,
    /// The administrator's.
    pub(super) kubeconfig: PathBuf,
    pub(super) network: Arc<Network>,
    /// Where the programs are, by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// The folder that volumes of the driver csi.spiffe.io show: the socket of the Workload API is in it, as `spire-agent.sock`.
    pub workload_api: PathBuf,
    /// Folders in the place of those of a node (`hostPath`).
    pub host_paths: BTreeMap<String, PathBuf>,
}

/// A pod that was started. Its processes end with it.
#[derive(Debug)]
pub struct RunningPod {
    pub namespace: String,
    pub name: String,
    // Before the host: what runs in a namespace ends first.
    pub processes: Vec<Process>,
    pub host: Host,
}

impl Kubelet {
    pub(super) fn new(client: Client, kubeconfig: PathBuf, network: Arc<Network>) -> Self {
        let (programs, workload_api, host_paths) = (BTreeMap::new(), PathBuf::new(), BTreeMap::new());
        Self { client, kubeconfig, network, programs, workload_api, host_paths }
    }

    /// Of a cluster of a lab that was left running. What it starts ends with this process all the same, unless it is forgotten.
    pub async fn of_kept(lab: &Joined, cluster: &str) -> Result<Self> {
        cofide_svid::install_crypto_provider();
        let kubeconfig = lab.0.folder().join(cluster).join("kubeconfig");
        let read = Kubeconfig::read_from(&kubeconfig).with_context(|| format!("the lab has no cluster {cluster}"))?;
        let client = Client::try_from(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)?;
        Ok(Self::new(client, kubeconfig, lab.0.clone()))
    }

    /// Starts a pod for each Deployment of the cluster that has none yet. One that asks for what does not exist, such as a Secret
    /// or a program, is an error of its own.
    pub async fn start_pods(&self) -> Result<Vec<Result<RunningPod>>> {
        let mut started = Vec::new();
        let deployments = Api::<Deployment>::all(self.client.clone()).list(&ListParams::default()).await?;
        for deployment in deployments {
            let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
            let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), &namespace);
            if pods.get_opt(&format!("{name}-0")).await?.is_none() {
                let pod = self.start(&deployment).await;
                started.push(pod.with_context(|| format!("cannot start a pod of the Deployment {namespace}/{name}")));
            }
        }
        Ok(started)
    }

    async fn start(&self, deployment: &Deployment) -> Result<RunningPod> {
        let (namespace, name) = (deployment.namespace().unwrap_or_default(), format!("{}-0", deployment.name_any()));
        let template = &deployment.spec.as_ref().context("no spec")?.template;
        let spec = template.spec.as_ref().context("no pod in the template")?;
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        let host = self.network.host(&name)?;
        self.write_hosts(&host).await?;
        let mut volumes = BTreeMap::new();
        for volume in spec.volumes.iter().flatten() {
            volumes.insert(volume.name.clone(), self.folder_of(volume, &namespace, &host).await?);
        }
        let account = spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned());
        let mut process_environment = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH")?)]);
        if spec.automount_service_account_token != Some(false) {
            let kubeconfig = service_account_kubeconfig(&self.client, &self.kubeconfig, &host.folder, &namespace, &account).await?;
            process_environment.insert("KUBECONFIG".into(), kubeconfig.display().to_string());
        }
        // Those that a sidecar is among come first.
        let containers: Vec<_> = spec.init_containers.iter().flatten().chain(&spec.containers).collect();
        let mut processes = Vec::new();
        for container in containers {
            let paths = paths(container, &volumes);
            place_files(&paths)?;
            let mut environment = process_environment.clone();
            environment.extend(self.environment(container, &namespace, &name, &host).await?);
            environment.values_mut().for_each(|value| *value = replaced(value, &paths));
            let words = words(container, &environment).into_iter().map(|word| replaced(&word, &paths));
            let process = self.spawn(container, words.collect(), &environment, &host)?;
            until_ready(container, &process, &host).await?;
            processes.push(process);
        }
        let pod = Pod::new(&namespace, &name, host.address).service_account(&account);
        objects::run_pod(&self.client, &Pod { labels: labels.clone(), ..pod }).await?;
        self.serve(&namespace, &labels, spec.containers.iter(), &host).await?;
        self.say_available(&namespace, deployment).await?;
        Ok(RunningPod { namespace, name, processes, host })
    }

    fn spawn(&self, container: &Container, words: Vec<String>, environment: &BTreeMap<String, String>, host: &Host) -> Result<Process> {
        let image = container.image.clone().unwrap_or_default();
        let of_image = image.rsplit('/').next().and_then(|last| last.split([':', '@']).next()).unwrap_or_default();
        let command = container.command.as_ref().and_then(|command| command.first()).map(String::as_str);
        let program = command.unwrap_or(of_image).rsplit('/').next().unwrap_or_default();
        let program = self.programs.get(program).with_context(|| format!("the lab has no program {program}, for the image {image}"))?;
        // An Envoy ends itself when its parent does; where this process will not stay, another one has to.
        let parent: &[&str] = if self.network.stays() { &PARENT } else { &[] };
        let mut command = match parent {
            [] => host.command(program),
            [first, rest @ ..] => {
                let mut command = host.command(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.args(container.command.iter().flatten().skip(1)).args(words).env_clear().envs(environment);
        host.start(&container.name, command)
    }

    /// What is in a volume, in a folder.
    async fn folder_of(&self, volume: &Volume, namespace: &str, host: &Host) -> Result<PathBuf> {
        let folder = host.folder.join("volumes").join(&volume.name);
        std::fs::create_dir_all(&folder)?;
        if let Some(driver) = volume.csi.as_ref().map(|csi| csi.driver.as_str()) {
            return match driver {
                "csi.spiffe.io" => Ok(self.workload_api.clone()),
                _ => bail!("the lab has no CSI driver {driver}"),
            };
        }
        if let Some(path) = volume.host_path.as_ref().map(|host_path| &host_path.path) {
            return self.host_paths.get(path).cloned().with_context(|| format!("the lab has nothing for the folder {path} of a node"));
        }
        if let Some(config_map) = &volume.config_map {
            let held = Api::<ConfigMap>::namespaced(self.client.clone(), namespace).get(&config_map.name).await?;
            for (name, text) in held.data.into_iter().flatten() {
                write(&folder.join(name), text.as_bytes())?;
            }
        }
        if let Some(name) = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_ref()) {
            let held = Api::<Secret>::namespaced(self.client.clone(), namespace).get(name).await?;
            for (name, bytes) in held.data.into_iter().flatten() {
                write(&folder.join(name), &bytes.0)?;
            }
        }
        Ok(folder)
    }

    async fn environment(&self, container: &Container, namespace: &str, pod: &str, host: &Host) -> Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::new();
        for source in container.env_from.iter().flatten() {
            let name = &source.config_map_ref.as_ref().context("envFrom is of a ConfigMap in the lab")?.name;
            let held = Api::<ConfigMap>::namespaced(self.client.clone(), namespace).get(name).await?;
            environment.extend(held.data.into_iter().flatten());
        }
        for EnvVar { name, value, value_from } in container.env.iter().flatten() {
            let field = value_from.as_ref().and_then(|from| from.field_ref.as_ref()).map(|field| field.field_path.as_str());
            let value = match field {
                None => value.clone().unwrap_or_default(),
                Some("metadata.name") => pod.to_owned(),
                Some("metadata.namespace") => namespace.to_owned(),
                Some("status.podIP") => host.address.to_string(),
                Some(other) => bail!("the lab does not know the field {other} of a pod"),
            };
            environment.insert(name.clone(), value);
        }
        Ok(environment)
    }

    /// The names of Services that lead to pods which run, and in the place of the cluster's DNS the first of these that answers
    /// DNS.
    async fn write_hosts(&self, host: &Host) -> Result<()> {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        let mut resolver = None;
        for service in Api::<Service>::all(self.client.clone()).list(&ListParams::default()).await? {
            let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
            let spec = service.spec.unwrap_or_default();
            let answers_dns = spec.ports.iter().flatten().any(|port| port.port == 53);
            let selector = spec.selector.unwrap_or_default();
            if selector.is_empty() {
                continue;
            }
            let selector: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), &namespace);
            let behind = pods.list(&ListParams::default().labels(&selector.join(","))).await?;
            if let Some(ip) = behind.iter().find_map(|pod| pod.status.as_ref()?.pod_ip.as_ref()) {
                resolver = resolver.or(answers_dns.then(|| ip.clone()));
                writeln!(text, "{ip} {name}.{namespace}.svc {name}.{namespace}.svc.cluster.local {name}.{namespace}")?;
            }
        }
        let files = files_of(host.namespace());
        std::fs::create_dir_all(&files)?;
        std::fs::write(files.join("hosts"), text)?;
        match resolver {
            Some(ip) => Ok(std::fs::write(files.join("resolv.conf"), format!("nameserver {ip}\n"))?),
            None => Ok(()),
        }
    }

    /// Does for the Services before the pod what the control plane, kube-proxy and a cloud would.
    async fn serve<'a>(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        containers: impl Iterator<Item = &'a Container> + Clone,
        host: &Host,
    ) -> Result<()> {
        for service in Api::<Service>::namespaced(self.client.clone(), namespace).list(&ListParams::default()).await? {
            let name = service.name_any();
            let spec = service.spec.unwrap_or_default();
            let selector = spec.selector.unwrap_or_default();
            if selector.is_empty() || !selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
                continue;
            }
            for port in spec.ports.iter().flatten() {
                let (at, to) = (u16::try_from(port.port)?, target(port, containers.clone())?);
                let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
                if at != to {
                    let chain = "add chain inet services prerouting { type nat hook prerouting priority -100 ; }";
                    let rule = format!("add rule inet services prerouting {protocol} dport {at} redirect to :{to}");
                    host.nft(&format!("add table inet services\n{chain}\n{rule}\n"))?;
                }
                if protocol != "tcp" {
                    continue;
                }
                let port_name = port.name.as_deref().unwrap_or_default();
                objects::endpoint_slice(&self.client, namespace, &name, (port_name, to), &[host.address.into()]).await?;
            }
            if spec.type_.as_deref() == Some("LoadBalancer") {
                objects::set_load_balancer(&self.client, namespace, &name, &[json!({ "ip": host.address })]).await?;
            }
        }
        Ok(())
    }

    /// So that `kubectl rollout status` has an answer.
    async fn say_available(&self, namespace: &str, deployment: &Deployment) -> Result<()> {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = json!({ "status": {
            "observedGeneration": deployment.metadata.generation,
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
        } });
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        deployments.patch_status(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }
}

/// Waits until the probe of the container is answered, where it has one over HTTP.
async fn until_ready(container: &Container, process: &Process, host: &Host) -> Result<()> {
    let probe = container.startup_probe.as_ref().or(container.readiness_probe.as_ref());
    let Some(get) = probe.and_then(|probe| probe.http_get.as_ref()) else { return Ok(()) };
    let (port, path) = (number(&get.port, std::iter::once(container))?, get.path.as_deref().unwrap_or("/"));
    let start = Instant::now();
    loop {
        let said = match status_line(host, port, path).await {
            Ok(line) if line.contains(" 200 ") => return Ok(()),
            Ok(line) => line,
            Err(error) => format!("{error:#}"),
        };
        let name = &container.name;
        ensure!(
            start.elapsed() < READY_DEADLINE,
            "{name} is not ready after {READY_DEADLINE:?}: {path} says {said}\n{}",
            process.log_tail()
        );
        tokio::time::sleep(POLL).await;
    }
}

async fn status_line(host: &Host, port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((host.address, port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(PROBE_TIMEOUT, BufReader::new(stream).read_line(&mut answer)).await.context("no answer")??;
    Ok(answer.trim_end().to_owned() + " ")
}

/// Where a container would find its volumes, and where they are; the longest path first.
fn paths(container: &Container, volumes: &BTreeMap<String, PathBuf>) -> Vec<(String, PathBuf)> {
    let mounts = container.volume_mounts.iter().flatten();
    let mut paths: Vec<_> = mounts.filter_map(|mount| Some((mount.mount_path.clone(), volumes.get(&mount.name)?.clone()))).collect();
    paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    paths
}

fn replaced(text: &str, paths: &[(String, PathBuf)]) -> String {
    paths.iter().fold(text.to_owned(), |text, (path, folder)| text.replace(path.as_str(), &folder.display().to_string()))
}

/// Names volumes by where they are in the files of the volumes themselves. What is no text is left as it is.
fn place_files(paths: &[(String, PathBuf)]) -> Result<()> {
    for (_, folder) in paths {
        for file in std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            write(&file, replaced(&text, paths).as_bytes())?;
        }
    }
    Ok(())
}

/// The arguments, with `$(NAME)` replaced as Kubernetes does.
fn words(container: &Container, environment: &BTreeMap<String, String>) -> Vec<String> {
    let expand = |word: &String| environment.iter().fold(word.clone(), |word, (name, value)| word.replace(&format!("$({name})"), value));
    container.args.iter().flatten().map(expand).collect()
}

/// The number of a Service's port in the pod.
fn target<'a>(port: &ServicePort, containers: impl Iterator<Item = &'a Container>) -> Result<u16> {
    match &port.target_port {
        None => Ok(u16::try_from(port.port)?),
        Some(target) => number(target, containers),
    }
}

fn number<'a>(port: &IntOrString, containers: impl Iterator<Item = &'a Container>) -> Result<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let found = ports.find(|port| port.name.as_ref() == Some(name));
            found.with_context(|| format!("no container has a port named {name}"))?.container_port
        }
    };
    Ok(u16::try_from(number)?)
}

/// For its owner alone, as what holds a secret has to be.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(content)?)
}
