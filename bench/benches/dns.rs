//! Our resolver beside CoreDNS (its `hosts` plugin), both as processes of their own, both with the same ten thousand names.
//!
//! A closed loop over UDP: a fixed number of queries under way, the next sent when an answer arrives.
//! Run: `make bench`.

#![allow(clippy::print_stdout, reason = "what a benchmark prints is its result")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cofide_bench::{from_lab, median, percentile};
use cofide_dns::{Upstream, ZoneHandle, serve};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

const NAMES: u32 = 10_000;
const UNDER_WAY: usize = 32;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve_ours(),
        // `cargo test` builds benchmarks and runs them with --test; there is nothing to assert here.
        Some("--test") => Ok(()),
        _ => compare(),
    }
}

fn compare() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ours = Peer::start("cofide-dns", free_port()?, |address| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", &address.to_string()]);
        Ok(command)
    })?;
    let coredns = Peer::start("CoreDNS hosts", free_port()?, |address| coredns(folder.path(), address))?;

    let (mut ours_rates, mut peer_rates) = (Vec::new(), Vec::new());
    println!("{NAMES} names, {UNDER_WAY} queries under way, {ROUNDS} rounds of {ROUND:?} in turns");
    println!("{:<14} {:>12} {:>10} {:>10}", "server", "queries/s", "p50", "p99");
    for _ in 0..ROUNDS {
        for (peer, rates) in [(&ours, &mut ours_rates), (&coredns, &mut peer_rates)] {
            let (rate, latencies) = load(peer.address)?;
            println!("{:<14} {rate:>12.0} {:>10.1?} {:>10.1?}", peer.name, percentile(&latencies, 0.5), percentile(&latencies, 0.99));
            rates.push(rate);
        }
    }
    let (ours, peer) = (median(&mut ours_rates), median(&mut peer_rates));
    println!("median: cofide-dns {ours:.0}/s, CoreDNS {peer:.0}/s, ratio {:.2}", ours / peer);
    Ok(())
}

fn hostname(index: u32) -> String {
    format!("service-{index}.demo.a.test")
}

fn address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + index)
}

#[tokio::main]
async fn serve_ours() -> anyhow::Result<()> {
    let listen: SocketAddr = std::env::args().nth(2).context("serve ADDRESS")?.parse()?;
    let mut zone = BTreeMap::new();
    for index in 0..NAMES {
        zone.insert(hostname(index).parse()?, address(index));
    }
    let handle = ZoneHandle::new();
    handle.set(zone);
    let bound = serve(&[listen], handle, Upstream::system(), tokio_util::sync::CancellationToken::new()).await?;
    bound.stopped().await;
    Ok(())
}

fn coredns(folder: &Path, address_of: SocketAddr) -> anyhow::Result<Command> {
    let binary = from_lab("coredns")?;
    let mut hosts = String::new();
    for index in 0..NAMES {
        writeln!(hosts, "{} {}", address(index), hostname(index))?;
    }
    let (hosts_file, corefile): (PathBuf, PathBuf) = (folder.join("hosts"), folder.join("Corefile"));
    std::fs::write(&hosts_file, hosts)?;
    let (ip, port) = (address_of.ip(), address_of.port());
    std::fs::write(&corefile, format!(".:{port} {{\n  bind {ip}\n  hosts {} {{\n    reload 0\n  }}\n}}\n", hosts_file.display()))?;
    let mut command = Command::new(binary);
    command.arg("-conf").arg(corefile).arg("-quiet");
    Ok(command)
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}

struct Peer {
    name: &'static str,
    address: SocketAddr,
    process: Child,
}

impl Peer {
    fn start(name: &'static str, address: SocketAddr, command: impl FnOnce(SocketAddr) -> anyhow::Result<Command>) -> anyhow::Result<Self> {
        let process = command(address)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let peer = Self { name, address, process };
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let mut answer = [0; 512];
            if socket.send(&query(0, 1)?).is_ok() && socket.recv(&mut answer).is_ok() {
                return Ok(peer);
            }
        }
        bail!("{name} did not answer at {address} within 20 s")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn query(index: u32, id: u16) -> anyhow::Result<Vec<u8>> {
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{}.", hostname(index)))?, RecordType::A));
    Ok(message.to_vec()?)
}

/// Answers per second, and the latency of each answer, sorted.
fn load(server: SocketAddr) -> anyhow::Result<(f64, Vec<Duration>)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let queries: Vec<Vec<u8>> = (0..NAMES).map(|index| query(index, 0)).collect::<Result<_, _>>()?;
    let mut sent_at = vec![Instant::now(); UNDER_WAY];
    let mut next = 0usize;
    // The id of a query is the slot that it occupies, so an answer finds its start without a map.
    let mut send = |slot: usize, sent_at: &mut [Instant]| -> anyhow::Result<()> {
        next = (next + 7919) % queries.len();
        let mut packet = queries[next].clone();
        packet[..2].copy_from_slice(&u16::try_from(slot)?.to_be_bytes());
        sent_at[slot] = Instant::now();
        socket.send(&packet)?;
        Ok(())
    };
    for slot in 0..UNDER_WAY {
        send(slot, &mut sent_at)?;
    }
    let began = Instant::now();
    let (mut latencies, mut answer) = (Vec::with_capacity(1 << 20), [0; 1232]);
    while began.elapsed() < ROUND {
        let length = socket.recv(&mut answer).with_context(|| format!("{server} stopped answering"))?;
        let slot = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
        latencies.push(sent_at[slot].elapsed());
        if latencies.len() % 1000 == 1 {
            let message = Message::from_vec(&answer[..length])?;
            if message.metadata.response_code != ResponseCode::NoError || message.answers.is_empty() {
                bail!("{server} gave a wrong answer: {message}");
            }
        }
        send(slot, &mut sent_at)?;
    }
    let rate = latencies.len() as f64 / began.elapsed().as_secs_f64();
    latencies.sort();
    Ok((rate, latencies))
}
