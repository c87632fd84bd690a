use std::process::ExitCode;

use clap::Parser;
use cofide_connect::cli::Cli;

fn main() -> ExitCode {
    cofide_connect::run::main(Cli::parse())
}
