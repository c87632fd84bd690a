//! Loopback addresses that no other part of this test process uses, and hardly one of another.
//!
//! With an address of its own a program keeps the usual ports, which lie below those that the kernel gives out: nothing can
//! take one while the program restarts.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use anyhow::Result;
use cofide_agent::addresses::LoopbackPool;

/// An address in 127.128.0.0/10.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 + NEXT.fetch_add(1, Ordering::Relaxed) % 64, high, low.max(1))
}

/// 256 addresses in 127.192.0.0/10, for the imports of one agent: Envoys of two tests must not meet on one address.
pub(crate) fn own_import_addresses() -> Result<LoopbackPool> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let block = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, _, high, low] = block.to_be_bytes();
    Ok(format!("127.{}.{low}.0/24", 192 + high % 63).parse()?)
}
