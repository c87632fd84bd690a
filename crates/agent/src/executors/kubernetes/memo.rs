//! What was rendered for each service, and from what: a run renders anew where that has changed, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Memo<K, Input, Output> {
    before: BTreeMap<K, (Input, Arc<Output>)>,
    now: BTreeMap<K, (Input, Arc<Output>)>,
}

impl<K, Input, Output> Default for Memo<K, Input, Output> {
    fn default() -> Self {
        Self { before: BTreeMap::new(), now: BTreeMap::new() }
    }
}

impl<K: Ord, Input, Output> Memo<K, Input, Output> {
    /// A run begins; what it does not ask for is forgotten with the next one.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// What follows for `key`, made by `make` unless it was made from the same before.
    pub(super) fn of(&mut self, key: K, is_same: impl FnOnce(&Input) -> bool, make: impl FnOnce() -> (Input, Output)) -> Arc<Output> {
        let (input, output) = match self.before.remove(&key) {
            Some((input, output)) if is_same(&input) => (input, output),
            _ => {
                let (input, output) = make();
                (input, Arc::new(output))
            }
        };
        self.now.insert(key, (input, output.clone()));
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_made_again_and_what_is_not_asked_for_is_forgotten() {
        let mut memo = Memo::<&str, u32, u32>::default();
        let mut made = Vec::new();
        for world in [&[("a", 1), ("b", 1)][..], &[("a", 1), ("b", 2)], &[("b", 2)], &[("a", 1), ("b", 2)]] {
            memo.begin();
            for (key, input) in world {
                let output = memo.of(
                    *key,
                    |before| before == input,
                    || {
                        made.push((*key, *input));
                        (*input, input * 10)
                    },
                );
                assert_eq!(*output, input * 10);
            }
        }
        assert_eq!(made, [("a", 1), ("b", 1), ("b", 2), ("a", 1)]);
    }
}
