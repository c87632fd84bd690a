//! What the client says: a line for each ping, for people or as JSON.

use std::net::SocketAddr;
use std::time::Duration;

use cofide_ping_pong::failure::{Failure, Reason};
use serde::Serialize;

pub(crate) struct Printer {
    pub(crate) json: bool,
}

#[derive(Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
enum Line<'a> {
    Pong { reply: &'a str, peer: Option<&'a str>, milliseconds: u128, attempts: u8 },
    Failed { reason: Reason, message: &'a str },
    Summary { answered: u64, failed: u64 },
}

impl Printer {
    pub(crate) fn pong(&self, reply: &str, peer: Option<&str>, took: Duration, attempts: u8) {
        let line = Line::Pong { reply, peer, milliseconds: took.as_millis(), attempts };
        let certificate = peer.map(|id| format!(" (certificate: {id})")).unwrap_or_default();
        self.print(&line, &format!("ping... {reply}{certificate}"));
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        let line = Line::Failed { reason: failure.reason, message: &failure.message };
        let hint = failure.reason.hint();
        let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
        self.print(&line, &format!("ping... failed: {}{hint}", failure.message));
    }

    /// Nothing is to be summed up of a single ping.
    pub(crate) fn summary(&self, answered: u64, failed: u64) {
        if answered + failed > 1 {
            self.print(&Line::Summary { answered, failed }, &format!("{answered} answered, {failed} not"));
        }
    }

    #[allow(clippy::print_stdout, reason = "what the example prints is its purpose")]
    pub(crate) fn addresses(host: &str, addresses: &[SocketAddr]) {
        addresses.iter().for_each(|address| println!("{host} is at {address}"));
    }

    #[allow(clippy::print_stdout, reason = "what the example prints is its purpose")]
    fn print(&self, line: &Line<'_>, text: &str) {
        if self.json {
            println!("{}", serde_json::to_string(line).unwrap_or_default());
        } else {
            println!("{text}");
        }
    }
}
