//! The page docs/getting-started.md, followed word by word with real Envoys.
//!
//! Its blocks of commands (```bash) go into one bash, in their order; what the page says that they print (```text right after)
//! must be what they print. A block marked `repeat` is one that the page says to repeat until it shows that. Only the folder
//! and the addresses are others, so that the test and a person who reads the page do not meet.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::support::{DEADLINE, program};

/// Two Envoys start, and a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

struct Block {
    commands: String,
    is_repeated: bool,
    /// What the page says that is printed; nothing said, nothing demanded.
    printed: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let content: String = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line.trim_end(), "\n"]).collect();
        match (fence, blocks.last_mut()) {
            ("bash" | "bash repeat", _) => {
                blocks.push(Block { commands: content, is_repeated: fence.ends_with("repeat"), printed: None });
            }
            ("text", Some(last)) if last.printed.is_none() => last.printed = Some(content),
            _ => {}
        }
    }
    blocks
}

/// One bash that reads its commands from us. It and all that it started end when it is dropped.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new("bash");
        command.arg("--norc").current_dir(folder).env_remove("COFIDE_CREDENTIALS").process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, stdin, stdout }
    }

    /// What the commands print, on either output.
    async fn run(&mut self, commands: &str) -> String {
        const END: &str = "---- end of block ----";
        self.stdin.write_all(format!("exec 2>&1\n{commands}\necho '{END}'\n").as_bytes()).await.unwrap();
        let mut printed = String::new();
        loop {
            let line = tokio::time::timeout(DEADLINE, self.stdout.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("it does not end:\n{commands}\nso far it printed:\n{printed}")).unwrap();
            match line.unwrap_or_else(|| panic!("bash has ended:\n{commands}\n{printed}")) {
                line if line == END => return printed,
                line => printed.extend([line.trim_end(), "\n"]),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            let _ = killpg(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
        }
    }
}

/// The end of every log, for whoever reads a failure.
fn logs(folder: &Path) -> String {
    let read = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = ["", "zone-a", "zone-b"].into_iter().flat_map(|name| read(folder.join(name)));
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let end = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(15).collect();
        format!("---- {} ----\n{}\n", path.display(), lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    };
    logs.map(end).collect()
}

#[tokio::test]
async fn the_page_for_beginners_is_followed_word_by_word() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(checkout.join("docs/getting-started.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("start");
    let page = page
        .replace("/tmp/cofide-start", work.to_str().unwrap())
        .replace("127.30.0.", "127.31.0.")
        .replace("127.102.", "127.104.")
        .replace("127.103.", "127.105.")
        .replace("$PWD/target/debug", program("cofidectl").parent().unwrap().to_str().unwrap());
    let blocks = blocks(&page);
    assert!(blocks.iter().filter(|block| block.printed.is_some()).count() >= 8, "the page has lost its blocks");

    let mut shell = Shell::start(checkout);
    for Block { commands, is_repeated, printed } in blocks {
        let began = Instant::now();
        loop {
            let found = shell.run(&commands).await;
            let is_right = printed.as_ref().is_none_or(|expected| *expected == found);
            if is_right {
                break;
            }
            let (is_late, expected) = (began.elapsed() > PATIENCE, printed.as_deref().unwrap_or_default());
            assert!(is_repeated && !is_late, "{commands}\nexpected:\n{expected}\nfound:\n{found}\n{}", logs(&work));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    assert!(!work.exists(), "the last block takes everything away");
}
