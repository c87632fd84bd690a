//! The page docs/getting-started.md, followed word by word with real Envoys.
//!
//! Its blocks of commands (```bash) go into one bash, in their order; what the page says that they print (```text right after)
//! must be what they print. A block marked `repeat` is one that the page says to repeat until it shows that. Only the folder
//! and the addresses are others, so that the test and a person who reads the page do not meet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cofide_testkit::page::{Block, Shell, blocks};
use tokio::time::Instant;

use crate::support::program;

/// Two Envoys start, and a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

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

    let mut shell = Shell::start(checkout).unwrap();
    for Block { commands, is_repeated, printed, .. } in blocks {
        let began = Instant::now();
        loop {
            let found = shell.run(&commands).await.unwrap();
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
