//! cofidectl: everything that a person does.
//!
//! ```text
//!  args/<noun> ──> commands/<noun> ──> connection ──> Connect
//!                      │   resolve: names to ids, once
//!                      ▼
//!                  view/<noun> ──> printer: table, JSON or YAML on stdout
//!
//!  error: what went wrong, what to do, exit code          config: file under environment under flags
//! ```
//!
//! Data goes to stdout and everything else to stderr, so output can be piped. A command changes one thing at most, and
//! says what it changed.

pub mod args;
pub mod commands;
pub mod config;
pub mod connection;
pub mod error;
pub mod label_selector;
pub mod printer;
pub mod resolve;
pub mod time;
pub mod view;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use cofide_runtime::{command_line, logging};

use crate::args::Cli;
use crate::config::Config;
use crate::error::Error;
use crate::printer::Printer;

/// The person and the place: what a program otherwise takes from its process.
pub struct Surroundings<'a> {
    pub home: Option<PathBuf>,
    pub stdout: &'a mut dyn Write,
    pub stderr: &'a mut dyn Write,
    /// Which of the two may be coloured.
    pub color: Color,
    /// Where a person is told that something takes its time; nowhere if nobody watches.
    pub progress: Option<&'a mut dyn Write>,
}

/// Each output on its own: one may be a terminal while the other is a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Color {
    pub stdout: bool,
    pub stderr: bool,
}

/// A person who has waited this long wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the command line and gives the exit code: 0 done, 1 failed, 2 the command line is not valid.
pub async fn run(line: impl IntoIterator<Item = OsString>, around: Surroundings<'_>) -> u8 {
    let Surroundings { home, stdout, stderr, color, progress } = around;
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        // Help is an answer and goes to stdout; the rest are mistakes.
        Err(error) if !error.use_stderr() => {
            let text = if color.stdout { error.render().ansi().to_string() } else { error.render().to_string() };
            return match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                Ok(()) => 0,
                Err(error) => Error::from(error).exit_code(),
            };
        }
        Err(error) => {
            let _ = stderr.write_all(args::without_variables(&command_line::mistake(&error)).as_bytes());
            return 2;
        }
    };
    // On the heap: the commands' state is large, and would be part of everything that waits for this.
    let result = Box::pin(async {
        let config = Config::load(&cli.global, home.as_deref())?;
        // A second initialisation, as in a test that runs several commands, keeps the first.
        let _ = logging::init(logging::Format::Text, config.log_level.as_deref().unwrap_or("error"));
        let mut printer = Printer { format: config.output, stdout, stderr: &mut *stderr };
        commands::run(cli.command, &config, &mut printer).await
    });
    match impatiently(result, progress).await {
        Ok(()) => 0,
        Err(error @ (Error::OutputClosed | Error::AnswerIsNo)) => error.exit_code(),
        Err(error) => {
            let _ = stderr.write_all(error.render(color.stderr).as_bytes());
            error.exit_code()
        }
    }
}

/// Says after a while that Connect is still waited for.
async fn impatiently<T>(result: impl Future<Output = T>, progress: Option<&mut dyn Write>) -> T {
    let mut result = std::pin::pin!(result);
    let Some(progress) = progress else { return result.await };
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut result).await {
        return done;
    }
    let _ = writeln!(progress, "waiting for Connect...");
    result.await
}

/// As [`run`], in this process.
pub fn main() -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: cannot start: {error}");
            return 1;
        }
    };
    let plain =
        std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let color = Color { stdout: !plain && stdout.is_terminal(), stderr: !plain && stderr.is_terminal() };
    for unread in args::unread_variables() {
        let _ = writeln!(std::io::stderr(), "{} {unread}", command_line::WARNING);
    }
    let mut watched = std::io::stderr();
    let around = Surroundings {
        home: std::env::home_dir(),
        stdout: &mut stdout.lock(),
        stderr: &mut std::io::stderr(),
        color,
        progress: stderr.is_terminal().then_some(&mut watched),
    };
    runtime.block_on(run(std::env::args_os(), around))
}
