//! A loopback address of its own for each imported hostname, so that two services on one port do not collide.
//!
//! An address begins as the hash of its hostname, so that agents that import the same services mostly agree; the next free
//! one is taken where that is taken. It then stays: it is on disk before anybody hears of it, and after the import is
//! gone it is nobody else's until the hold time has passed, because a client that still remembers the answer of a
//! resolver must find nothing there rather than another service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use cofide_core::{Hostname, Timestamp};
use cofide_runtime::files::FileError;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::state::DataFolder;

const MEMORY: &str = "addresses";

/// Programs that keep answers for longer than an hour keep them for ever, and no hold time helps.
pub const DEFAULT_HOLD: Duration = Duration::from_secs(3600);

/// A range of 127.0.0.0/8 without 127.0.0.1, such as `127.64.0.0/10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoopbackPool(Ipv4Net);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoopbackPoolError {
    #[error("{0:?} is not of the form address/prefix length, as in 127.64.0.0/10")]
    Syntax(String),
    #[error("{0} is not within 127.0.0.0/8; clients on other hosts must not be able to reach imports")]
    NotLoopback(String),
    #[error("{given} does not begin at its network address; use {network}")]
    HostBits { given: String, network: LoopbackPool },
    #[error("{0} contains 127.0.0.1, where other programs listen; use a range such as 127.64.0.0/10")]
    ContainsLocalhost(LoopbackPool),
}

impl LoopbackPool {
    const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

    pub fn network(self) -> Ipv4Addr {
        self.0.network()
    }

    pub fn prefix_length(self) -> u8 {
        self.0.prefix_len()
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.0.contains(&address)
    }

    /// How many addresses can be given out. The first and the last of a range are left alone where it has others: people take
    /// them for the network and its broadcast address.
    pub fn size(self) -> usize {
        self.0.hosts().count()
    }

    /// All usable addresses, beginning at the hash of a name.
    fn starting_at_hash_of(self, hostname: &Hostname) -> impl Iterator<Item = Ipv4Addr> {
        let digest = Sha256::digest(hostname.as_str());
        let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let start = usize::try_from(hash).unwrap_or(usize::MAX) % self.size();
        self.0.hosts().skip(start).chain(self.0.hosts().take(start))
    }
}

impl Default for LoopbackPool {
    /// `127.64.0.0/10`: four million addresses, away from those that distributions and developers use.
    fn default() -> Self {
        Self(Ipv4Net::new_assert(Ipv4Addr::new(127, 64, 0, 0), 10))
    }
}

impl FromStr for LoopbackPool {
    type Err = LoopbackPoolError;
    fn from_str(text: &str) -> Result<Self, LoopbackPoolError> {
        let range: Ipv4Net = text.parse().map_err(|_| LoopbackPoolError::Syntax(text.to_owned()))?;
        if !Self::LOOPBACK.contains(&range) {
            return Err(LoopbackPoolError::NotLoopback(text.to_owned()));
        }
        let pool = Self(range.trunc());
        if pool.0 != range {
            return Err(LoopbackPoolError::HostBits { given: text.to_owned(), network: pool });
        }
        if pool.contains(Ipv4Addr::LOCALHOST) {
            return Err(LoopbackPoolError::ContainsLocalhost(pool));
        }
        Ok(pool)
    }
}

impl TryFrom<String> for LoopbackPool {
    type Error = LoopbackPoolError;
    fn try_from(text: String) -> Result<Self, LoopbackPoolError> {
        text.parse()
    }
}

impl From<LoopbackPool> for String {
    fn from(pool: LoopbackPool) -> Self {
        pool.to_string()
    }
}

impl std::fmt::Display for LoopbackPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why one import has no address. Others are not concerned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    #[error(
        "no loopback address is left in {pool}: {live} are in use and {held} are held back after their service went; configure a larger pool"
    )]
    PoolFull { pool: LoopbackPool, live: usize, held: usize },
    #[error("its loopback address could not be recorded, so it is not given out: {0}")]
    NotRecorded(String),
}

/// Who has which address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    pub addresses: BTreeMap<Hostname, Ipv4Addr>,
    pub refused: BTreeMap<Hostname, NoAddress>,
}

/// The addresses of the imports of one agent, and the folder that keeps them.
#[derive(Debug)]
pub struct Addresses {
    data: Arc<DataFolder>,
    pool: LoopbackPool,
    hold: Duration,
    reservations: Reservations,
}

type Reservations = BTreeMap<Hostname, Reservation>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reservation {
    address: Ipv4Addr,
    /// Since when the hostname is no longer imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    released_at: Option<Timestamp>,
}

impl Addresses {
    /// Reads what was assigned before. Reservations outside the pool, which was another then, are forgotten. Where the file is
    /// lost, the hashes lead most hostnames to the addresses that they had.
    pub fn open(data: Arc<DataFolder>, pool: LoopbackPool, hold: Duration) -> Result<Self, FileError> {
        let reservations = data.load(MEMORY)?.map(|kept| usable(kept, pool)).unwrap_or_default();
        Ok(Self { data, pool, hold, reservations })
    }

    pub fn pool(&self) -> LoopbackPool {
        self.pool
    }

    /// Gives every wanted hostname its address, releases those of all others, and writes down what changed.
    pub fn assign(&mut self, wanted: &BTreeSet<Hostname>, now: Timestamp) -> Assignment {
        let (next, mut refused) = assign(&self.reservations, wanted, self.pool, self.hold, now);
        if next != self.reservations {
            match self.data.save(MEMORY, &next) {
                Ok(()) => self.reservations = next,
                Err(error) => {
                    let unrecorded = next.into_keys().filter(|hostname| !self.reservations.contains_key(hostname));
                    refused.extend(unrecorded.map(|hostname| (hostname, NoAddress::NotRecorded(error.to_string()))));
                }
            }
        }
        let recorded = self.reservations.iter().filter(|(hostname, _)| wanted.contains(*hostname));
        let addresses = recorded.map(|(hostname, reservation)| (hostname.clone(), reservation.address)).collect();
        Assignment { addresses, refused }
    }
}

/// Without what is outside the pool, and without a second hostname on one address, which only an edit by hand can bring.
fn usable(reservations: Reservations, pool: LoopbackPool) -> Reservations {
    let mut seen = BTreeSet::new();
    reservations.into_iter().filter(|(_, reservation)| pool.contains(reservation.address) && seen.insert(reservation.address)).collect()
}

/// The decision: what is reserved now, and who went away empty-handed.
fn assign(
    before: &Reservations,
    wanted: &BTreeSet<Hostname>,
    pool: LoopbackPool,
    hold: Duration,
    now: Timestamp,
) -> (Reservations, BTreeMap<Hostname, NoAddress>) {
    let is_held = |released_at: Timestamp| {
        let hold = i64::try_from(hold.as_micros()).unwrap_or(i64::MAX);
        now.as_micros() < released_at.as_micros().saturating_add(hold)
    };
    let mut next = Reservations::new();
    for (hostname, reservation) in before {
        let released_at = if wanted.contains(hostname) { None } else { Some(reservation.released_at.unwrap_or(now)) };
        if released_at.is_none_or(is_held) {
            next.insert(hostname.clone(), Reservation { address: reservation.address, released_at });
        }
    }
    let mut taken: BTreeSet<Ipv4Addr> = next.values().map(|reservation| reservation.address).collect();
    let mut refused = BTreeMap::new();
    for hostname in wanted {
        if next.contains_key(hostname) {
            continue;
        }
        let is_full = taken.len() >= pool.size();
        let free = if is_full { None } else { pool.starting_at_hash_of(hostname).find(|address| !taken.contains(address)) };
        match free {
            Some(address) => {
                taken.insert(address);
                next.insert(hostname.clone(), Reservation { address, released_at: None });
            }
            None => {
                let held = next.values().filter(|reservation| reservation.released_at.is_some()).count();
                refused.insert(hostname.clone(), NoAddress::PoolFull { pool, live: next.len() - held, held });
            }
        }
    }
    (next, refused)
}

#[cfg(test)]
mod tests;
