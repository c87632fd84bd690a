//! Words of somebody else, fit for a table and a log.

/// Characters that are not letters of anything and change how those around them are shown: they hide text, or turn its order.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// What somebody else said, as one line of at most `longest` characters: whatever breaks lines, moves a cursor, colours a
/// terminal, hides text or turns its order around is a space, and several in a row are one. So a row of a table stays a row,
/// a line of a log a line, and nobody writes what looks like another.
pub fn one_line(text: &str, longest: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control() || is_invisible(c)).filter(|word| !word.is_empty());
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(longest) {
        Some((end, _)) => line[..end].trim_end().to_owned(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_text_becomes_a_space() {
        for (said, kept) in [
            ("cannot bind '127.0.0.1:80'", "cannot bind '127.0.0.1:80'"),
            ("first\r\n\tsecond  third\n", "first second third"),
            ("\u{1b}[31mred\u{1b}[0m", "[31mred [0m"),
            ("a\0b\u{7f}c\u{9b}d", "a b c d"),
            ("exe\u{202e}fdp.exe", "exe fdp.exe"),
            ("one\u{2028}two\u{feff}", "one two"),
            ("größer als 1 日本", "größer als 1 日本"),
            (" \n ", ""),
        ] {
            assert_eq!(one_line(said, 100), kept, "{said:?}");
        }
        assert_eq!(one_line("äöü äöü", 3), "äöü");
        assert_eq!(one_line("äöü äöü", 4), "äöü", "no space at the end");
    }

    proptest! {
        #[test]
        fn it_is_one_line_of_bounded_length_and_stays_what_it_is(text in any::<String>(), longest in 0..40usize) {
            let line = one_line(&text, longest);
            prop_assert!(line.chars().count() <= longest);
            prop_assert!(!line.contains(|c: char| c.is_control() || is_invisible(c)));
            prop_assert_eq!(one_line(&line, longest), line);
        }
    }
}
