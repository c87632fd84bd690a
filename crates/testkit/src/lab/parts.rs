//! Where the programs are: each folder below `lab` has a script that builds what is missing and says where it is.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// The folder with the programs of a part, such as `kubernetes` or `helm`. They are built first where they are missing, which
/// takes minutes; progress goes to stderr.
pub async fn install(part: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab").join(part).join("install");
    let output = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await;
    let output = output.with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed: {}; it says why above", script.display(), output.status);
    let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    ensure!(folder.is_dir(), "{} names no folder but {folder:?}", script.display());
    Ok(folder)
}
