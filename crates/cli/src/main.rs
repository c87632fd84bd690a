use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cofide_cli::main())
}
