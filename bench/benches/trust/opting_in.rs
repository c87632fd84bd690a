//! From the commands that make trust to workloads that verify each other.

use std::time::Instant;

use anyhow::Result;

use crate::print;
use crate::zones::{A, B, Zones, arrives};

/// Makes trust both ways so often, and takes it away again in between.
pub(crate) async fn measure(how: &str, zones: &Zones, rounds: usize) -> Result<()> {
    let mut times = Vec::new();
    for round in 1..=rounds {
        eprintln!("opting in {round} of {rounds}: {how}");
        let began = Instant::now();
        let federations = zones.opt_in().await?;
        times.push(arrives("both workloads verify each other", began, async || Ok(zones.verify_each_other())).await?);

        for zone in [A, B] {
            zones.plane.update_binding(&zones.bindings[zone], &[]).await?;
        }
        for federation in federations {
            zones.plane.unfederate(federation).await?;
        }
        let is_forgotten =
            async || Ok(zones.held_by_the_server_of_b().await? == 0 && zones.workloads.iter().all(|one| one.trusts().len() == 1));
        arrives("trust has ended", Instant::now(), is_forgotten).await?;
    }
    println!("\n| federations and bindings, {how} | rounds | median ms | 99 % | slowest |\n|---|--:|--:|--:|--:|");
    print("until the workloads verify each other", times);
    Ok(())
}
