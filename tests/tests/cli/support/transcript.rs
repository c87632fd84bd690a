//! A story told in commands and what they print, to be read beside the document that it follows.

use super::{Connect, Outcome};

pub(crate) struct Transcript<'a> {
    connect: &'a Connect,
    text: String,
}

impl<'a> Transcript<'a> {
    pub(crate) fn new(connect: &'a Connect) -> Self {
        Self { connect, text: String::new() }
    }

    /// What the commands that follow are about.
    pub(crate) fn note(&mut self, text: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.text += &format!("{gap}# {text}\n");
    }

    pub(crate) async fn run(&mut self, line: &str) -> Outcome {
        let outcome = self.connect.cofidectl(line).await;
        self.text += &outcome.to_string();
        outcome
    }

    pub(crate) async fn run_all(&mut self, lines: &[&str]) {
        for line in lines {
            self.run(line).await;
        }
    }

    pub(crate) fn text(&self) -> String {
        self.connect.masked(&self.text)
    }
}

/// Compares a transcript with its snapshot; ids and times, which no two runs have in common, are masked.
macro_rules! assert_transcript {
    ($transcript:expr) => {
        $crate::support::assert_transcript!(text $transcript.text())
    };
    (text $text:expr) => {
        insta::with_settings!({
            omit_expression => true,
            filters => vec![
                (r"\b(tz|cl|ag|fd|apb?|fs|org)-[A-Za-z0-9]{21}\b", "$1-[id]"),
                (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:[port]"),
                (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
            ],
        }, { insta::assert_snapshot!($text) })
    };
}
pub(crate) use assert_transcript;
