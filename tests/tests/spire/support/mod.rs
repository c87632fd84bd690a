//! Workloads of trust zones on real SPIRE.

mod go_spiffe;
mod zones;

pub(crate) use go_spiffe::GoSpiffe;
pub(crate) use zones::{A, B, both_directions_are_healthy, is_let_in, two_zones};
