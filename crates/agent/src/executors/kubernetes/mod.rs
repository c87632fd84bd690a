//! Objects in the API server of the agent's cluster: the executors of [`render::istio`](crate::render::istio) and
//! [`render::spire`](crate::render::spire).
//!
//! ```text
//!  exports, plan ─ render ─> wanted ─┐
//!                                    ├─ decide (pure) ─> what to write and what to delete ─> API server
//!  mirrors of each kind ─────────────┘                                                          │
//!        ▲                                                                                      │
//!        └───────────────────────────────────── watch ──────────────────────────────────────────┘
//! ```
//!
//! - Only a difference is written, so an agent at rest writes nothing, and one that starts over a cluster that is as it should
//!   be writes nothing either.
//! - Ours is what carries our label or what we have applied. Somebody's change of ours is undone; what others add beside our
//!   fields stays. An object of somebody else that has our name, or our host, is left alone and whoever it is for is told.
//! - Ours that is wanted no more is deleted, but only where it is known that it is wanted no more: from a view and a plan that
//!   are whole, and a kind that was listed as a whole. No memory is needed for that, so a crash leaves nothing behind.
//! - A kind that the cluster does not have, or that the agent may not touch, holds up no other one.

mod decide;
mod failure;
pub mod istio;
mod live;
mod memo;
mod mirror;
pub mod spire;
#[cfg(test)]
mod tests;
mod writer;

pub use istio::{ImportsReport, IstioExecutor, MeshOfCluster, MeshReport};
pub use spire::SpireObjects;

/// What is not as it should be after a run; it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Unfinished(pub(crate) Vec<String>);
