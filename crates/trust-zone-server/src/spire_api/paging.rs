//! Pages of a list in the order of its keys.

/// The items after `token`, at most `page_size` of them (all, where it is not positive), and the token of the next page,
/// which is empty after the last one. A token is the key of the last item seen, so it stays good while items come and go.
pub(super) fn page<T>(mut items: Vec<(String, T)>, page_size: i32, token: &str) -> (Vec<T>, String) {
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    let Some(page_size) = usize::try_from(page_size).ok().filter(|size| *size > 0) else {
        return (items.into_iter().map(|(_, item)| item).collect(), String::new());
    };
    let start = items.partition_point(|(key, _)| key.as_str() <= token);
    let has_more = items.len() - start > page_size;
    let page: Vec<_> = items.into_iter().skip(start).take(page_size).collect();
    let next = page.last().filter(|_| has_more).map(|(key, _)| key.clone()).unwrap_or_default();
    (page.into_iter().map(|(_, item)| item).collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list_once_even_if_it_changes_in_between() {
        let items = |keys: &[&'static str]| keys.iter().map(|key| ((*key).to_owned(), *key)).collect::<Vec<_>>();
        assert_eq!(page(items(&["b", "a", "c"]), 2, ""), (vec!["a", "b"], "b".into()));
        assert_eq!(page(items(&["b", "a", "c"]), 2, "b"), (vec!["c"], String::new()));
        assert_eq!(page(items(&["a", "c", "d"]), 2, "b"), (vec!["c", "d"], String::new()), "b went away");
        assert_eq!(page(items(&["a", "b"]), 2, ""), (vec!["a", "b"], String::new()), "a full last page has no next");
        assert_eq!(page(items(&["a", "b"]), 0, ""), (vec!["a", "b"], String::new()));
        assert_eq!(page(items(&["a", "b"]), -1, "a"), (vec!["a", "b"], String::new()));
        assert_eq!(page(items(&[]), 5, "x"), (vec![], String::new()));
    }
}
