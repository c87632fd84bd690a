//! What was decided, in the words of those who must carry it out. Every renderer is a pure function of
//! [`Desired`](crate::desired::Desired), or of [what a SPIRE server should hold](crate::spire::model::Desired).

pub mod envoy;
pub mod istio;
pub(crate) mod names;
pub mod object;
pub mod spire;
