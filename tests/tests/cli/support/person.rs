//! Somebody at a terminal: a home folder and cofidectl.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::{DEADLINE, Outcome, program};

pub(crate) struct Person {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Person {
    /// Without a credential.
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// With a credential where cofidectl looks for one by itself; a link, so that a new one is followed.
    pub(crate) fn with_credential(credential: &Path) -> Self {
        let person = Self::new();
        let folder = person.home().join(".cofide");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(credential, folder.join("credentials")).unwrap();
        person
    }

    /// The same person with an environment variable more.
    pub(crate) fn exporting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// cofidectl in the home folder, with nothing in its environment that comes from the test's.
    pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program("cofidectl"));
        command.args(arguments).current_dir(self.home()).env_clear().env("HOME", self.home()).kill_on_drop(true);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command line, words separated by spaces, with apostrophes around what has some.
    ///
    /// Holds every command to what is promised of all: data or an error, never both, and no colour in a pipe.
    pub(crate) async fn cofidectl(&self, line: &str) -> Outcome {
        let output = tokio::time::timeout(DEADLINE, self.command(words(line)).output()).await;
        let output = output.unwrap_or_else(|_| panic!("no answer within {DEADLINE:?}: cofidectl {line}")).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{}: cofidectl {line}", output.status));
        let outcome = Outcome { line: line.to_owned(), code, stdout: text(output.stdout), stderr: text(output.stderr) };
        // An explanation is data also where it says that something does not work.
        let is_answer = line.starts_with("explain ") && !outcome.stderr.starts_with("Error: ");
        assert!(code == 0 || outcome.stdout.is_empty() || is_answer, "a failure prints no data\n{outcome}");
        assert!(!outcome.stdout.contains('\x1b') && !outcome.stderr.contains('\x1b'), "no terminal, no colour\n{outcome}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
        outcome
    }
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            c => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}
