//! Values that one part of the agent writes and others read, and the wake-ups between them.
//!
//! A reader is woken only when the value differs from the one before, and then reads whatever is there by now. So a
//! wake-up carries no data, a lost or doubled one does no harm, and a slow reader sees the latest value and not a queue.
//!
//! Not `tokio::sync::watch`, because a reconciler looks at everything whatever has changed: one [`Wake`] for all its values,
//! and for events that are no values, stands where it would have to select over as many receivers.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;

/// Says "look again" to one reader. Any number of calls before it looks count as one.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Returns at once if there was a call since the last return.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}

#[derive(Debug, Default)]
pub struct Published<T> {
    value: RwLock<Arc<T>>,
    readers: Mutex<Vec<Wake>>,
}

impl<T: PartialEq> Published<T> {
    pub fn new(value: T) -> Self {
        Self { value: RwLock::new(Arc::new(value)), readers: Mutex::default() }
    }

    pub fn get(&self) -> Arc<T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes `value`; answers whether it differs from the one before.
    pub fn set(&self, value: T) -> bool {
        {
            let mut held = self.value.write().unwrap_or_else(PoisonError::into_inner);
            if **held == value {
                return false;
            }
            *held = Arc::new(value);
        }
        for reader in self.readers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            reader.wake();
        }
        true
    }

    /// `wake` is called at each later change.
    pub fn wakes(&self, wake: &Wake) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(wake.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn only_a_difference_wakes_and_many_wake_once() {
        let published = Published::new(1);
        let wake = Wake::default();
        published.wakes(&wake);
        assert!(!published.set(1));
        assert!(wake.woken().now_or_never().is_none());
        assert!(published.set(2) && published.set(3));
        assert!(wake.woken().now_or_never().is_some());
        assert!(wake.woken().now_or_never().is_none());
        assert_eq!(*published.get(), 3);
    }
}
