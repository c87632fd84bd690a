//! Pings a server by name and prints who answered.

mod arguments;
mod connection;
mod printer;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cofide_ping_pong::failure::Reason;

use crate::arguments::Arguments;
use crate::connection::Client;
use crate::printer::Printer;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let printer = Printer { json: arguments.json };
    let (resolve, keep_going, count) = (arguments.resolve, arguments.keep_going, arguments.count);
    let interval = Duration::from_millis(arguments.interval.max(1));
    let client = Client::new(arguments).await?;
    if resolve {
        return Ok(print_addresses(&client, &printer).await);
    }
    let (mut answered, mut failed, mut last) = (0u64, 0u64, Reason::Other);
    let mut connection = None;
    let mut ticks = tokio::time::interval(interval);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        let closed = tokio::select! {
            _ = ticks.tick() => None,
            failure = client.closed(&mut connection) => Some(failure),
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        let outcome = match closed {
            Some(failure) => Err(failure),
            None => client.ping(&mut connection).await,
        };
        match outcome {
            Ok(pong) => {
                answered += 1;
                printer.pong(&pong.reply, pong.peer.as_deref(), pong.took, pong.attempts);
            }
            Err(failure) => {
                failed += 1;
                last = failure.reason;
                connection = None;
                printer.failure(&failure);
                if !keep_going {
                    break;
                }
            }
        }
        if answered + failed == count {
            break;
        }
    }
    printer.summary(answered, failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(last as u8) })
}

async fn print_addresses(client: &Client, printer: &Printer) -> ExitCode {
    match client.addresses().await {
        Ok(addresses) => {
            Printer::addresses(&client.host, &addresses);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            printer.failure(&failure);
            ExitCode::from(failure.reason as u8)
        }
    }
}
