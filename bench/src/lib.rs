//! Benchmarks beside a peer
