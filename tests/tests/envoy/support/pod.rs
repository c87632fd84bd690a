//! A pod: a network namespace with the redirects that spiffe-enable makes in it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use cofide_testkit::lab::{Host, Lab};

/// Whose connections are not redirected. In a pod that is the proxy's user, 1337; here Envoy has to keep this user, because
/// that is whom the SPIFFE server knows.
const PROXY_USER: u32 = 0;
/// Whose connections are redirected.
const APPLICATION_USER: u32 = 1000;

pub(crate) struct Pod {
    host: Host,
    /// This side of the link to the pod.
    pub(crate) host_address: Ipv4Addr,
}

impl Pod {
    /// `None`, with a reason, where this machine cannot make one.
    pub(crate) fn possible() -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        for tool in ["ip", "nft", "setpriv", "bash"] {
            let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| is_file(&folder, tool)));
            if !found {
                return Err(format!("{tool} is not installed (Debian: iproute2, nftables, util-linux, bash)"));
            }
        }
        Ok(())
    }

    pub(crate) fn create() -> anyhow::Result<Self> {
        // The host keeps the network that it is in.
        let lab = Lab::start()?;
        let host = lab.host("pod")?;
        host.nft(&REDIRECTS.replace("PROXY_USER", &PROXY_USER.to_string()))?;
        Ok(Self { host, host_address: lab.address() })
    }

    /// What to put before a command so that it runs in the pod.
    pub(crate) fn wrapper(&self) -> [&str; 4] {
        self.host.wrapper()
    }

    /// Runs a script of bash as an application of the pod; answers what it prints.
    pub(crate) async fn bash(&self, script: &str) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::from(self.host.command("setpriv"));
        command.args(["--reuid", &APPLICATION_USER.to_string(), "--clear-groups"]);
        let output = command.args(["timeout", "3", "bash", "-c", script]).stdin(Stdio::null()).kill_on_drop(true).output().await?;
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(output.status.success(), "{}: {printed} {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        Ok(printed)
    }

    /// Connects, says hello and answers what comes back.
    pub(crate) async fn hello(&self, address: Ipv4Addr, port: u16) -> anyhow::Result<String> {
        self.bash(&format!("exec 3<>/dev/tcp/{address}/{port}; echo hello >&3; read -r line <&3 && echo \"$line\"")).await
    }

    /// Sends a message as bytes over UDP or TCP to port 53 of a name server and answers what comes back.
    pub(crate) async fn dns(&self, transport: &str, server: Ipv4Addr, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let escaped: String = message.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let script =
            format!("exec 3<>/dev/{transport}/{server}/53; printf '{escaped}' >&3; dd bs=4096 count=1 <&3 2>/dev/null | od -An -v -tx1");
        let hex = self.bash(&script).await?;
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).context("od prints bytes")).collect()
    }
}

const REDIRECTS: &str = "\
add table inet envoy_proxy
add chain inet envoy_proxy output { type nat hook output priority 0 ; }
add rule inet envoy_proxy output meta skuid PROXY_USER accept
add rule inet envoy_proxy output udp dport 53 redirect to :15053
add rule inet envoy_proxy output tcp dport 53 redirect to :15053
add rule inet envoy_proxy output tcp dport { 10000, 9901 } accept
add rule inet envoy_proxy output ip daddr 127.0.0.0/8 meta l4proto tcp redirect to :10000
add rule inet envoy_proxy output ip6 daddr ::1 meta l4proto tcp redirect to :10000
";

fn is_file(folder: &Path, name: &str) -> bool {
    folder.join(name).is_file()
}
