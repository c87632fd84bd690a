//! Benchmarks, each beside a peer on the same machine in the same run.
//!
//! Absolute figures of a shared machine say little, so each benchmark runs the product and its peer in turns and prints
//! the ratio of the medians. Nothing here asserts a time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

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
