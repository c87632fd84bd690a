//! What came of a command.

use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Outcome {
    /// As it was typed.
    pub(crate) line: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Asserts that it did what it was asked to.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self}");
        self
    }

    /// Asserts that it failed with an exit code and an error that holds all of these.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, holds: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self}");
        assert!(self.stderr.starts_with("Error: "), "{self}");
        for part in holds {
            assert!(self.stderr.contains(part), "{part:?} is not in\n{self}");
        }
        self
    }

    /// What it printed, read as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }

    /// What it printed, read as YAML.
    #[track_caller]
    pub(crate) fn yaml(&self) -> Value {
        serde_saphyr::from_str(&self.stdout).unwrap_or_else(|error| panic!("not YAML: {error}\n{self}"))
    }

    /// The command that the error says would help, without the name of the program.
    #[track_caller]
    pub(crate) fn remedy(&self) -> String {
        let (_, command) = self.stderr.rsplit_once("cofidectl ").unwrap_or_else(|| panic!("it names no command\n{self}"));
        command.lines().next().unwrap_or_default().to_owned()
    }
}

/// As a person sees it. What went to stderr is marked, and an exit code that is not 0 is said.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ cofidectl {}", self.line)?;
        f.write_str(&self.stdout)?;
        for line in self.stderr.lines() {
            writeln!(f, "{}", format!("! {line}").trim_end())?;
        }
        match self.code {
            0 => Ok(()),
            code => writeln!(f, "[exit {code}]"),
        }
    }
}
