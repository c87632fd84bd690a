//! The whole of it on real parts: three clusters, two of them with Istio, and agents that run under the rights of their chart.
//!
//! ```text
//!   server   local.domain    Istio     what the tests export
//!   client   other1.domain   Istio     clients behind sidecars
//!   plain    other2.domain   no mesh   clients behind Envoys of the agent, and SDKs; exports through an Envoy of the agent
//!   stranger third.domain    a host    federated with `server`, and nothing is exported to it
//! ```
//!
//! The clusters are started once. Tests of a namespace of their own run side by side; those that take a part of the world away
//! run alone. Root and Go are needed, as for everything with a lab.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod example;
mod support;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use support::Stage;

/// Most of them wait more than they compute.
const SIDE_BY_SIDE: usize = 6;

macro_rules! trials {
    ($runtime:ident, $stage:ident; $($lock:ident: $($test:path,)*;)*) => {
        vec![$($({
            let (runtime, stage) = ($runtime.clone(), $stage.clone());
            Trial::test(stringify!($test).replace(' ', ""), move || {
                runtime.block_on(async {
                    #[allow(unused_mut, reason = "those that run alone change the world")]
                    let mut world = stage.$lock().await;
                    $test(&mut world).await;
                });
                Ok(())
            })
        },)*)*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let runtime = Arc::new(Runtime::new().unwrap());
    let stage = Arc::new(Stage::default());
    let trials = trials!(runtime, stage;
        together:
            example::the_example_of_the_documentation_is_reached_from_a_mesh_and_from_a_cluster_without_one,
        ;
    );
    let conclusion = libtest_mimic::run(&arguments, trials);
    runtime.block_on(async { drop(stage) });
    conclusion.exit_code()
}
