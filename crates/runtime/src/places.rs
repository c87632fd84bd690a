//! How many connections there may be at a time, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The places for connections to one listener.
#[derive(Debug)]
pub struct Places {
    total: usize,
    per_address: usize,
    warning: &'static str,
    open: Mutex<HashMap<IpAddr, usize>>,
    last_warning: AtomicI64,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub struct Place {
    address: IpAddr,
    places: Arc<Places>,
}

impl Places {
    /// `warning` is what the log says when somebody is turned away.
    pub fn new(total: usize, per_address: usize, warning: &'static str) -> Arc<Self> {
        Arc::new(Self { total, per_address, warning, open: Mutex::default(), last_warning: AtomicI64::new(0) })
    }

    /// A place for a connection from `address`; `None` where it has enough of them, or all are taken.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let here = open.entry(address).or_default();
        if all >= self.total || *here >= self.per_address {
            let count = *here;
            if count == 0 {
                open.remove(&address);
            }
            drop(open);
            self.warn(address, all, count);
            return None;
        }
        *here += 1;
        Some(Place { address, places: self.clone() })
    }

    /// At most one line a second, however many are turned away.
    fn warn(&self, address: IpAddr, all: usize, here: usize) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
        if self.last_warning.swap(now, Ordering::Relaxed) != now {
            tracing::warn!(%address, open = all, from_address = here, "{}", self.warning);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_one_address_cannot_take_all() {
        let places = Places::new(3, 2, "too many");
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = places.admit(one).unwrap();
        let _second = places.admit(one).unwrap();
        assert!(places.admit(one).is_none(), "two from one address are enough");
        let _third = places.admit(two).unwrap();
        assert!(places.admit(two).is_none(), "three in all are enough");
        drop(first);
        assert!(places.admit(two).is_some());
        assert_eq!(places.open.lock().unwrap().get(&one), Some(&1));
    }
}
