//! What somebody may have meant.

/// As far as two words may differ and still be one with a slip in it (Jaro-Winkler, 1 is equality): `hostnam` and `hostname`
/// are 0.98 alike, `port` and `host` 0.67.
const ALIKE: f64 = 0.85;

/// The known word that is most like this one, whatever the case; `None` where none is like it.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(&word, &known.to_lowercase()), known));
    scored.filter(|(score, _)| *score > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["hostname", "host", "port"];
        for (word, meant) in [("hostnam", Some("hostname")), ("Port", Some("port")), ("hots", Some("host")), ("gateway", None), ("", None)]
        {
            assert_eq!(closest(word, known), meant, "{word}");
        }
    }
}
