//! Where objects come from. A source publishes a [`ClusterView`](crate::view::ClusterView): nothing behind it asks where an object was
//! read.

pub mod host;
pub mod kubernetes;
