use std::process::ExitCode;

use clap::Parser;
use cofide_trust_zone_server::args::Args;
use cofide_trust_zone_server::commands;

#[tokio::main]
async fn main() -> ExitCode {
    match commands::execute(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
