//! What was decided, in the words of those who must carry it out. Every renderer is a pure function of
//! [`Desired`](crate::desired::Desired).

pub mod envoy;
pub mod istio;
