//! Benchmarks, each beside a peer on the same machine in the same run.
//!
//! Absolute figures of a shared machine say little, so each benchmark runs the product and its peer in turns and prints
//! the ratio of the medians. Nothing here asserts a time.

use std::time::Duration;

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
