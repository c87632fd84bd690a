//! From a new authority of A to B, step by step of a rotation.

use std::time::Instant;

use anyhow::Result;
use cofide_svid::IdentitySource;

use crate::print;
use crate::zones::{A, Zones, arrives};

/// Rotates the authority of A so often. Both zones trust each other afterwards.
pub(crate) async fn measure(how: &str, zones: &Zones, rounds: usize) -> Result<()> {
    if !zones.verify_each_other() {
        zones.opt_in().await?;
        arrives("both workloads verify each other", Instant::now(), async || Ok(zones.verify_each_other())).await?;
    }
    let mut authorities = zones.plane.zones[A].authorities().await?;
    let (mut at_the_server, mut at_the_workload) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("rotation {round} of {rounds}: {how}");
        let began = Instant::now();
        let next = authorities.prepare().await?;
        let server = arrives("the server of B has the new authority", began, async || Ok(zones.held_by_the_server_of_b().await? == 2));
        let workload = arrives("the workload of B has the new authority", began, async || Ok(zones.held_by_the_workload_of_b() == 2));
        let (server, workload) = tokio::try_join!(server, workload)?;
        at_the_server.push(server);
        at_the_workload.push(workload);

        // The rest of the rotation, so that the next one begins like this one.
        let leaf = || zones.workloads[A].identity.identity().map(|svid| svid.leaf().to_vec());
        let before = leaf();
        let old = authorities.activate(next).await?;
        arrives("the workload of A is signed anew", Instant::now(), async || Ok(leaf() != before)).await?;
        authorities.retire(old).await?;
        arrives("the workload of B has lost the old authority", Instant::now(), async || Ok(zones.held_by_the_workload_of_b() == 1))
            .await?;
    }
    println!("\n| a new authority, {how} | rounds | median ms | 99 % | slowest |\n|---|--:|--:|--:|--:|");
    print("until the partner's SPIFFE server has it", at_the_server);
    print("until the partner's workload has it", at_the_workload);
    Ok(())
}
