//! Mistakes on the command line, said in the words in which the programs say everything that goes wrong.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// What people look for in the output of every program.
pub const ERROR: &str = "Error:";
/// The same for what does not keep a program from doing its work.
pub const WARNING: &str = "Warning:";

/// A mistake as clap tells it, without colour, beginning as all other errors do.
pub fn mistake(error: &clap::Error) -> String {
    let text = error.render().to_string();
    match text.strip_prefix("error:") {
        Some(rest) => format!("{ERROR}{rest}"),
        None => text,
    }
}

/// Reads the command line of this process. Whoever asked for help, or made a mistake, has been answered when this fails
/// with the exit code to end with: 0 after help, 2 after a mistake.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        if error.use_stderr() {
            let _ = std::io::stderr().write_all(mistake(&error).as_bytes());
            return ExitCode::from(2);
        }
        // Clap knows whether stdout is a terminal.
        let _ = error.print();
        ExitCode::SUCCESS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    #[command(name = "program")]
    struct Line {
        #[arg(long)]
        port: u16,
    }

    #[test]
    fn a_mistake_begins_as_every_error_does() {
        let text = |words: &[&str]| mistake(&Line::try_parse_from(words).unwrap_err());
        assert!(text(&["program", "--port", "x"]).starts_with("Error: invalid value 'x' for '--port <PORT>'"));
        assert!(text(&["program", "--prot", "1"]).starts_with("Error: unexpected argument '--prot' found"));
        assert!(text(&["program", "--help"]).starts_with("Usage: program"), "help is no error");
    }
}
