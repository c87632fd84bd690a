//! Benchmarks, each beside a peer on the same machine in the same run.
//!
//! Absolute figures of a shared machine say little, so each benchmark runs the product and its peer in turns and prints
//! the ratio of the medians. Nothing here asserts a time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

/// Of `/proc/PID/stat`; on Linux it is the same on every machine that userspace sees.
const TICK: Duration = Duration::from_millis(10);

/// What a process has used so far.
pub struct Usage {
    pub cpu: Duration,
    pub peak_kib: u64,
}

impl Usage {
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}"));
        // The fields after the program's name, which may hold anything: user and system time are the 14th and 15th of all.
        let stat = read("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let ticks: u32 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap_or_default()).sum();
        let status = read("status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM in /proc/PID/status")?;
        let peak_kib = peak.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { cpu: TICK * ticks, peak_kib })
    }
}

/// Where a peer's program is. The lab builds it the first time, which takes minutes and says so.
pub fn from_lab(part: &str) -> anyhow::Result<PathBuf> {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab").join(part).join("install");
    let output = Command::new(&install).stderr(Stdio::inherit()).output().with_context(|| install.display().to_string())?;
    if !output.status.success() {
        bail!("{} failed; what it needs is said above", install.display());
    }
    Ok(Path::new(String::from_utf8(output.stdout)?.trim()).join(part))
}

/// The middle value; zero for nothing.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The value below which `share` of the sorted samples lie.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
