//! What surrounds each server program, from its command line to its exit code.
//!
//! ```text
//!  flags, environment, file ──> load ──> check ──> log ──> serve until SIGINT or SIGTERM ──> exit code
//!                                          └─────> print (config print)
//! ```
//!
//! A program says with [`Program`] what is its own; [`Launch`] and [`ConfigCommand`] are the parts of the command line that
//! all of them have. Data goes to stdout, everything else to stderr; an error is one line with its
//! causes, in the form of [`command_line`].

use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::command_line::{self, ERROR, WARNING};
use crate::environment::{self, Unread, Variables};
use crate::{Chain, build_info, config, logging, shutdown};

/// Why a program ends without success: any error, with its causes.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What is particular to one server program.
pub trait Program: Sized {
    /// As it is called on the command line.
    const NAME: &'static str;
    /// The environment variable that names the configuration file.
    const CONFIG_VARIABLE: &'static str;
    /// How the names of its other environment variables begin.
    const VARIABLE_PREFIX: &'static str;
    /// Environment variables that begin the same and that other programs read.
    const VARIABLES_OF_OTHERS: &'static [&'static str] = &[];
    /// Keys of the configuration, in capitals, that are read from the environment without having a flag, and the variables.
    const VARIABLES_WITHOUT_FLAG: &'static [(&'static str, &'static str)] = &[];
    /// The configuration file with every key at its default, commented.
    const DEFAULT_FILE: &'static str;
    /// The keys of the configuration as flags, each unset unless given.
    type Overrides: Args + Serialize;
    type Config: DeserializeOwned + Serialize;

    /// What can be found wrong without a look at the machine.
    fn check(config: &Self::Config) -> Result<(), Failure>;

    /// The form of the log lines, and which of them.
    fn logging(config: &Self::Config) -> (logging::Format, &str);

    /// The known word that somebody may have meant with this one.
    fn closest(word: &str, known: &[&str]) -> Option<String>;

    /// For printing: what is printed ends up in tickets.
    fn without_secrets(config: Self::Config) -> Self::Config {
        config
    }

    /// Serves until `shutdown`.
    fn serve(config: Self::Config, shutdown: CancellationToken) -> impl Future<Output = Result<(), Failure>>;
}

/// A server holds a file for each connection, and most systems give a process 1024 until it asks for what it may have. Those are there
/// for programs that call select(2), of which this is none.
fn raise_open_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        tracing::debug!(%error, "the number of open files stays as it was");
    }
}

/// Where the configuration comes from.
#[derive(Args)]
pub struct Launch<P: Program> {
    /// Configuration file (YAML); flags and environment variables win over it
    #[arg(long, env = P::CONFIG_VARIABLE, value_name = "FILE", alias = "config-file")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: P::Overrides,
}

#[derive(Subcommand)]
pub enum ConfigCommand<P: Program> {
    /// Print a configuration file with every key at its default
    PrintDefault,
    /// Print the configuration that the program would use with the same file, environment and flags, after checking it
    Print(Box<Launch<P>>),
}

impl<P: Program> Launch<P> {
    pub fn load(&self) -> Result<P::Config, config::ConfigError> {
        config::load(self.config.as_deref(), &self.overrides)
    }

    /// Variables in the environment that look as if they were meant for the program, and that it does not read.
    fn unread_variables() -> Vec<Unread> {
        let flags = P::Overrides::augment_args(clap::Command::new(P::NAME));
        let of_flags = environment::of_command(&flags);
        let without_flag = [("CONFIG", P::CONFIG_VARIABLE)].into_iter().chain(P::VARIABLES_WITHOUT_FLAG.iter().copied());
        let known = of_flags.chain(without_flag.map(|(key, name)| (key.to_owned(), name.to_owned()))).collect();
        Variables { prefix: P::VARIABLE_PREFIX, of_others: P::VARIABLES_OF_OTHERS, known }.unread_here(P::closest)
    }

    /// Runs the program until SIGINT or SIGTERM.
    pub fn run(&self) -> Result<(), Failure> {
        let config = self.load()?;
        P::check(&config)?;
        let (format, level) = P::logging(&config);
        logging::init(format, level)?;
        for unread in Self::unread_variables() {
            tracing::warn!("{unread}");
        }
        raise_open_files();
        block_on(async {
            let shutdown = shutdown::on_signal().map_err(|error| format!("cannot listen for signals: {error}"))?;
            // On the heap: the future of a whole program is large.
            Box::pin(P::serve(config, shutdown)).await
        })
    }
}

impl<P: Program> ConfigCommand<P> {
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Self::PrintDefault => print(P::DEFAULT_FILE),
            Self::Print(launch) => {
                let config = launch.load()?;
                for unread in Launch::<P>::unread_variables() {
                    let _ = writeln!(std::io::stderr(), "{WARNING} {unread}");
                }
                P::check(&config)?;
                let text = serde_saphyr::to_string(&P::without_secrets(config));
                print(&text.map_err(|error| format!("cannot write the configuration as YAML: {error}"))?)
            }
        }
    }
}

/// What `main` calls: parses the command line, executes it, and tells a failure.
pub fn main<A: Parser>(execute: impl FnOnce(A) -> Result<(), Failure>) -> ExitCode {
    let arguments = match command_line::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that has gone away is told nothing more.
            let _ = writeln!(std::io::stderr(), "{ERROR} {}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Prints the version of the program.
pub fn print_version<P: Program>() -> Result<(), Failure> {
    print(&format!("{}\n", build_info::line(P::NAME)))
}

/// Writes data to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| format!("cannot write to stdout: {error}").into()),
    }
}

/// Runs a future to its end on all processors.
pub fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start the asynchronous runtime: {error}"))?.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    struct Example;

    #[derive(Args, Default, Serialize)]
    struct Overrides {
        /// Where
        #[arg(long, env = "EXAMPLE_ADDRESS")]
        address: Option<String>,
    }

    #[derive(Serialize, Deserialize, Default, Debug)]
    #[serde(deny_unknown_fields, default)]
    struct Config {
        address: String,
        token: Option<String>,
    }

    impl Program for Example {
        const NAME: &'static str = "example";
        const CONFIG_VARIABLE: &'static str = "EXAMPLE_CONFIG";
        const VARIABLE_PREFIX: &'static str = "EXAMPLE_";
        const DEFAULT_FILE: &'static str = "address: ''\n";
        type Overrides = Overrides;
        type Config = Config;

        fn check(config: &Config) -> Result<(), Failure> {
            if config.address.is_empty() { Err("configuration key address: it is empty".into()) } else { Ok(()) }
        }
        fn logging(_: &Config) -> (logging::Format, &str) {
            (logging::Format::Text, "info")
        }
        fn closest(_: &str, _: &[&str]) -> Option<String> {
            None
        }
        async fn serve(_: Config, _: CancellationToken) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[derive(Parser)]
    enum Command {
        Run(Launch<Example>),
        #[command(subcommand)]
        Config(ConfigCommand<Example>),
    }

    fn parse(arguments: &[&str]) -> Command {
        Command::parse_from([&["example"], arguments].concat())
    }

    #[test]
    fn a_flag_wins_over_the_file_that_another_flag_names() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "address: file\ntoken: secret\n").unwrap();
        let path = file.path().to_str().unwrap();
        let Command::Run(launch) = parse(&["run", "--config", path, "--address", "flag"]) else { panic!("not run") };
        let config = launch.load().unwrap();
        assert_eq!((config.address.as_str(), config.token.as_deref()), ("flag", Some("secret")));
    }

    #[test]
    fn a_configuration_is_checked_before_it_is_printed_or_used() {
        let Command::Config(command) = parse(&["config", "print"]) else { panic!("not config") };
        assert!(command.run().unwrap_err().to_string().contains("configuration key address"));
        let Command::Run(launch) = parse(&["run"]) else { panic!("not run") };
        assert!(launch.run().unwrap_err().to_string().contains("configuration key address"));
    }
}
