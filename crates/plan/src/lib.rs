//! Which services a cluster imports, which trust it holds, whom it registers, and why not.
//!
//! ```text
//!   Noun, Noun, ... ──> Snapshot ──────────────> plan(cluster) ──> ClusterPlan { Key: PlanResource }
//!                          │                                            ▲
//!   NounChange ──> apply ──┤                                            │ set(key, resource)
//!                          │                                            │
//!   Change ──> affected(before, after) ──> (cluster, Key), ... ──> resource(cluster, key)
//!
//!   client zone, hostname ──> explain ──> Finding, Finding, ...   the first that is not ok is the broken link
//! ```
//!
//! Everything here is a function of its arguments: no clock, no I/O, no order of arrival. A [`Snapshot`] is a value whose
//! copy costs nothing, so the state before a change and the state after it can be held side by side, and readers never
//! wait for a writer.
//!
//! What one cluster receives is cut into resources, each with a [`Key`] by which it can be computed alone. After a change,
//! [`affected`] names the keys that may have changed; its work follows the size of the change and of its consequences, not
//! the size of the world. Recomputing those keys gives what planning anew would give.
//!
//! The rules, each in its own module:
//!
//! | resource | rule |
//! |---|---|
//! | [`Key::Import`] | exported to the cluster's trust domain from another zone, with federations both ways between the zones, and at least one gateway to enter by |
//! | [`Key::Trust`] | one for each federation *from* the cluster's zone: its own workloads are to trust the other domain |
//! | [`Key::Registration`] | one for each binding in the cluster's zone, with its [`partners`]; it names only domains with which a federation exists |
//! | [`Key::Export`] | one for each service of the cluster: what became of each exported domain |
//! | [`Key::ControlPlaneTrust`] | the same for all |

mod affected;
mod cluster_plan;
mod explain;
mod exports;
mod imports;
mod index;
mod partners;
mod registrations;
mod snapshot;
mod trust;

pub use affected::affected;
pub use cluster_plan::{ClusterPlan, Key, PlanResource, keys, plan, resource};
pub use explain::{explain, home};
pub use partners::{Partners, partners};
pub use snapshot::Snapshot;
