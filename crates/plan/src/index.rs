//! A multimap that shares structure between its copies.

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

/// Ids by something that they have in common. Iterates in order, so that equal contents read equally whatever the order
/// in which they arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index<K: Ord, V: Ord>(RedBlackTreeMapSync<K, RedBlackTreeSetSync<V>>);

impl<K: Ord, V: Ord> Default for Index<K, V> {
    fn default() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }
}

impl<K: Ord + Clone, V: Ord + Clone> Index<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.0.get_mut(&key) {
            Some(values) => values.insert_mut(value),
            None => {
                let mut values = RedBlackTreeSetSync::new_sync();
                values.insert_mut(value);
                self.0.insert_mut(key, values);
            }
        }
    }

    /// Keys without values do not stay behind: an index equals another when their contents do.
    pub(crate) fn remove(&mut self, key: &K, value: &V) {
        let Some(values) = self.0.get_mut(key) else { return };
        values.remove_mut(value);
        if values.is_empty() {
            self.0.remove_mut(key);
        }
    }

    pub(crate) fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
        self.0.get(key).into_iter().flat_map(RedBlackTreeSetSync::iter)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }
}
