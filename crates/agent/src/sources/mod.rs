//! Where objects come from. Each source yields what it read; [`crate::index`] makes one view of it.

pub mod host;
