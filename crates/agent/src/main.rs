use std::process::ExitCode;

use clap::Parser;
use cofide_agent::cli::Cli;

fn main() -> ExitCode {
    cofide_agent::run::main(Cli::parse())
}
