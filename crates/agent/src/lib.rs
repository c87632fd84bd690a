//! The agent: exports local services, imports remote ones, keeps the trust zone in step

pub mod desired;
