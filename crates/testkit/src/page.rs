//! Pages with commands, followed word by word.
//!
//! A block of commands is fenced as `bash`, to be pasted whole, or as `console`, where `$ ` begins a command. A block fenced as
//! `text` after it says what the commands print.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// What a block may take, on a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(120);
const END: &str = "---- end of block";

/// Commands of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The last heading before it, without its `#`.
    pub heading: String,
    pub commands: String,
    /// Whether the page says to repeat it until it prints that, by the fence `bash repeat`.
    pub is_repeated: bool,
    /// What the page says that is printed; nothing said, nothing demanded.
    pub printed: Option<String>,
}

/// The blocks of a page in Markdown, in their order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut heading = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        }
        let Some(fence) = line.strip_prefix("```") else { continue };
        let content: String = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line.trim_end(), "\n"]).collect();
        match (fence, blocks.last_mut()) {
            ("bash" | "bash repeat" | "console", _) => {
                let commands = if fence == "console" { without_prompts(&content) } else { content };
                blocks.push(Block { heading: heading.clone(), commands, is_repeated: fence.ends_with("repeat"), printed: None });
            }
            ("text", Some(last)) if last.printed.is_none() && last.heading == heading => last.printed = Some(content),
            _ => {}
        }
    }
    blocks
}

fn without_prompts(content: &str) -> String {
    content.lines().flat_map(|line| [line.strip_prefix("$ ").unwrap_or(line), "\n"]).collect()
}

/// One bash that reads its commands from us. It and all that it started end when it is dropped.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    pub fn start(folder: &Path) -> Result<Self> {
        let mut command = Command::new("bash");
        command.arg("--norc").current_dir(folder).env_remove("COFIDE_CREDENTIALS").process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start bash")?;
        let stdin = child.stdin.take().context("bash reads nothing")?;
        let stdout = BufReader::new(child.stdout.take().context("bash prints nothing")?).lines();
        Ok(Self { child, stdin, stdout })
    }

    /// What the commands print, on either output.
    pub async fn run(&mut self, commands: &str) -> Result<String> {
        Ok(self.run_to_the_end(commands).await?.0)
    }

    /// The same, where every single one of them succeeds.
    pub async fn succeed(&mut self, commands: &str) -> Result<String> {
        match self.run_to_the_end(commands).await? {
            (printed, true) => Ok(printed),
            (printed, false) => bail!("one of these failed:\n{commands}\n{printed}"),
        }
    }

    async fn run_to_the_end(&mut self, commands: &str) -> Result<(String, bool)> {
        let begin = "exec 2>&1; set -o pipefail; failed=0; trap 'failed=$?' ERR";
        let end = format!("trap - ERR; set +o pipefail; echo; echo \"{END} $failed\"");
        self.stdin.write_all(format!("{begin}\n{commands}\n{end}\n").as_bytes()).await?;
        let mut printed = String::new();
        loop {
            let line = tokio::time::timeout(DEADLINE, self.stdout.next_line()).await;
            let line = line.with_context(|| format!("it does not end:\n{commands}\nso far it printed:\n{printed}"))??;
            let line = line.with_context(|| format!("bash has ended:\n{commands}\n{printed}"))?;
            if let Some(failed) = line.strip_prefix(END) {
                // The empty line before the end is ours, in case that what was printed did not end with one.
                return Ok((printed.strip_suffix('\n').unwrap_or(&printed).to_owned(), failed.trim() == "0"));
            }
            printed.extend([line.trim_end(), "\n"]);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // An error says that it has ended.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_heading_its_commands_and_what_they_print() {
        let page = "# A\n```sh\nmake\n```\n## B c\n```console\n$ one |\n    two \\\n    three\n$ four\n```\n\n```text\nsaid\n```\n\
                    ```bash repeat\nfive\n```\n## C\n```text\nno output\n```\n";
        let found: Vec<_> =
            blocks(page).into_iter().map(|block| (block.heading, block.commands, block.is_repeated, block.printed)).collect();
        let commands = "one |\n    two \\\n    three\nfour\n".to_owned();
        let repeated = ("B c".to_owned(), "five\n".to_owned(), true, None);
        assert_eq!(found, [("B c".to_owned(), commands, false, Some("said\n".to_owned())), repeated]);
    }

    #[tokio::test]
    async fn a_shell_keeps_what_commands_set_and_tells_that_one_failed() {
        let mut shell = Shell::start(Path::new("/")).unwrap();
        assert_eq!(shell.succeed("a=1; echo $PWD\nif false; then :; fi").await.unwrap(), "/\n");
        assert_eq!(shell.succeed("printf $a").await.unwrap(), "1");
        let error = shell.succeed("false | cat\necho went on").await.unwrap_err().to_string();
        assert!(error.contains("went on"), "{error}");
        assert_eq!(shell.run("false").await.unwrap(), "");
    }
}
