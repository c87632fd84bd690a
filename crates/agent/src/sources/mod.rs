//! Where objects come from. A source publishes a [`ClusterView`](crate::view::ClusterView): nothing behind it asks where an object was
//! read. One that reads texts leaves to [`crate::index`] what is to be remembered of them.

pub mod host;
pub mod kubernetes;
