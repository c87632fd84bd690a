//! Network namespaces around a hub that routes between them.
//!
//! The hub is a namespace of its own, so that nothing of the machine's own routing changes but one route to the lab. Each
//! [`Host`] has one address and one veth to the hub, over which it reaches everything: the other hosts and this process.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use tokio::net::{TcpListener, TcpStream};

use super::claim::Claim;
use super::process::Process;

const NAMESPACES: &str = "/run/netns";
/// What `ip netns exec` shows in place of the files in `/etc`, in a folder for each namespace (ip-netns(8)).
const FILES_OF_NAMESPACES: &str = "/etc/netns";
/// What every host calls its neighbour at the other end of its veth: the hub, which has the address once for each.
const NEXT_HOP: &str = "169.254.1.1";
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// The namespaces of one lab.
#[derive(Debug)]
pub(super) struct Network {
    claim: Claim,
    hub: String,
    /// The last octet of the address that the next host gets.
    next: AtomicU8,
    /// Whether its programs are to outlive this process.
    stays: AtomicBool,
    /// Whether it ends with this; not where another process has made it.
    ends: bool,
    resolver: OnceLock<Ipv4Addr>,
}

impl Network {
    pub(super) fn create(claim: Claim) -> Result<Self> {
        let (number, hub) = (claim.number, name_of_hub(claim.number));
        let network =
            Self { claim, hub: hub.clone(), next: AtomicU8::new(4), stays: AtomicBool::new(false), ends: true, resolver: OnceLock::new() };
        let outer = name_of_link(number);
        let batch = format!(
            "netns add {hub}\n\
             link add {outer} type veth peer name outside netns {hub}\n\
             address add {}/30 dev {outer}\n\
             link set {outer} up\n",
            network.address(),
        );
        ip(&["-batch", "-"], &batch)?;
        let inside = network.nth(2);
        ip(&["-n", &hub, "-batch", "-"], &format!("link set lo up\naddress add {inside}/30 dev outside\nlink set outside up\n"))?;
        ip(&["route", "add", &format!("{}/24", network.nth(0)), "via", &inside.to_string()], "")?;
        in_namespace(&hub, || Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?)).context("the hub does not route")?;
        Ok(network)
    }

    /// The network of a lab that another process has left running; it goes on when this one ends.
    pub(super) fn of_kept(claim: Claim) -> Self {
        let hub = name_of_hub(claim.number);
        let prefix = format!("{hub}-");
        let octets = namespaces_of(claim.number).into_iter().filter_map(|name| name.strip_prefix(&prefix)?.parse::<u8>().ok());
        let next = octets.max().map_or(4, |highest| highest.saturating_add(1));
        Self { claim, hub, next: AtomicU8::new(next), stays: AtomicBool::new(true), ends: false, resolver: OnceLock::new() }
    }

    /// This process in the network.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.nth(1)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.claim.folder
    }

    /// The n-th address of the lab.
    fn nth(&self, octet: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.claim.number, octet)
    }

    pub(super) fn host(self: &Arc<Self>, name: &str) -> Result<Host> {
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |octet| (octet < 254).then_some(octet + 1));
        let octet = taken.ok().context("a lab has 250 hosts at most")?;
        let address = self.nth(octet);
        let namespace = format!("{}-{octet}", self.hub);
        let folder = self.new_folder(name, octet)?;
        ip(&["netns", "add", &namespace], "")?;
        if let Some(resolver) = self.resolver.get() {
            let files = files_of(&namespace);
            std::fs::create_dir_all(&files)?;
            std::fs::write(files.join("resolv.conf"), format!("nameserver {resolver}\n"))?;
        }
        let link = format!("host{octet}");
        let batch = format!(
            "link add {link} type veth peer name eth0 netns {namespace}\n\
             address add {NEXT_HOP}/32 dev {link}\n\
             link set {link} up\n\
             route add {address}/32 dev {link}\n"
        );
        ip(&["-n", &self.hub, "-batch", "-"], &batch)?;
        let batch = format!(
            "link set lo up\n\
             address add {address}/32 dev eth0\n\
             link set eth0 up\n\
             route add {NEXT_HOP} dev eth0\n\
             route add default via {NEXT_HOP}\n"
        );
        ip(&["-n", &namespace, "-batch", "-"], &batch)?;
        Ok(Host { name: name.to_owned(), namespace, link, address, folder, network: self.clone() })
    }

    /// Called after the host; several clusters may have hosts of one name.
    fn new_folder(&self, name: &str, octet: u8) -> Result<PathBuf> {
        let mut folder = self.claim.folder.join(name);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                folder = self.claim.folder.join(format!("{name}-{octet}"));
                std::fs::create_dir(&folder)
            }
            other => other,
        }
        .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// The first one counts.
    pub(super) fn set_resolver(&self, address: Ipv4Addr) {
        self.resolver.get_or_init(|| address);
    }

    pub(super) fn let_stay(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }

    pub(super) fn stays(&self) -> bool {
        self.stays.load(Ordering::Relaxed)
    }

    pub(super) fn keep(&self, note: &str) -> Result<()> {
        self.claim.keep(note)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if self.ends
            && let Err(error) = self.claim.end()
        {
            eprintln!("lab {}: {error:#}", self.claim.number);
        }
    }
}

/// A network namespace with one address: a cluster's own programs, or a pod's.
pub struct Host {
    name: String,
    namespace: String,
    /// The hub's end of the veth.
    link: String,
    pub address: Ipv4Addr,
    /// For what its programs write; goes with the lab.
    pub folder: PathBuf,
    network: Arc<Network>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.address, self.namespace)
    }
}

impl Host {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What to put before a command so that it runs here.
    pub fn wrapper(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.namespace]
    }

    /// A command that runs here.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let [ip, words @ ..] = self.wrapper();
        let mut command = Command::new(ip);
        command.args(words).arg(program).current_dir(&self.folder);
        command
    }

    /// Starts a program that [`Self::command`] describes. What it says goes to the end of `<name>.log` in the folder of the host.
    pub fn start(&self, name: &str, command: Command) -> Result<Process> {
        Process::start(name, command, self.folder.join(format!("{name}.log")))
    }

    /// Loads rules of nftables.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut nft = self.command("nft");
        nft.args(["-f", "-"]);
        run(nft, rules).map(drop)
    }

    /// Cuts the host off, or joins it again. Open connections hear nothing of it: that is what a dead machine looks like.
    pub fn set_reachable(&self, reachable: bool) -> Result<()> {
        let state = if reachable { "up" } else { "down" };
        ip(&["-n", &self.network.hub, "link", "set", &self.link, state], "")?;
        if reachable {
            // It went with the link.
            let route = ["-n", &self.network.hub, "route", "replace", &self.address.to_string(), "dev", &self.link];
            ip(&route, "")?;
        }
        Ok(())
    }

    /// A listener of this process in the namespace, on its address; 0 for any port.
    pub fn listen(&self, port: u16) -> Result<TcpListener> {
        self.listen_on(SocketAddr::from((self.address, port)))
    }

    /// A listener of this process in the namespace, for example on its loopback.
    pub fn listen_on(&self, address: SocketAddr) -> Result<TcpListener> {
        let listener = in_namespace(&self.namespace, || Ok(StdTcpListener::bind(address)?));
        let listener = listener.with_context(|| format!("cannot listen on {address} in {self:?}"))?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    }

    /// A connection of this process from within the namespace, with the redirects that are in it.
    pub async fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let (namespace, host) = (self.namespace.clone(), format!("{self:?}"));
        let connect = move || in_namespace(&namespace, || Ok(StdTcpStream::connect_timeout(&address, CONNECT_DEADLINE)?));
        let stream = tokio::task::spawn_blocking(connect).await?.with_context(|| format!("cannot connect to {address} from {host}"))?;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_std(stream)?)
    }

    pub(super) fn network(&self) -> &Arc<Network> {
        &self.network
    }
}

pub(super) fn name_of_hub(number: u8) -> String {
    format!("cofide-lab-{number}")
}

/// This machine's end of its veth to the hub.
pub(super) fn name_of_link(number: u8) -> String {
    format!("cofide-lab{number}")
}

/// The namespaces of a lab that exist on this machine.
pub(super) fn namespaces_of(number: u8) -> Vec<String> {
    let (hub, prefix) = (name_of_hub(number), format!("{}-", name_of_hub(number)));
    // Without the folder there are none.
    let names = std::fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| *name == hub || name.starts_with(&prefix)).collect()
}

/// The files that programs in the namespace see in place of those in `/etc`.
pub(super) fn files_of(namespace: &str) -> PathBuf {
    Path::new(FILES_OF_NAMESPACES).join(namespace)
}

/// Does something in a namespace. A socket belongs for ever to the namespace that it was made in, so it can be carried out.
fn in_namespace<T: Send>(namespace: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = Path::new(NAMESPACES).join(namespace);
    let file = File::open(&path).with_context(|| format!("there is no network namespace {namespace}"))?;
    // On a thread of its own, which takes the namespace with it when it ends.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter the network namespace {namespace}"))?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs iproute2, with input for `-batch -`.
pub(super) fn ip(arguments: &[&str], input: &str) -> Result<String> {
    let mut ip = Command::new("ip");
    ip.args(arguments);
    run(ip, input)
}

fn run(mut command: Command, input: &str) -> Result<String> {
    let text = format!("{command:?}");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot run {text}; lab/network/install installs it"))?;
    // A program that does not read its input to the end says why below.
    let _ = child.stdin.take().context("the input is a pipe")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{text}: {} {}", String::from_utf8_lossy(&output.stderr).trim(), input.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
