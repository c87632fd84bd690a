use std::process::ExitCode;

use cofide_runtime::program;

fn main() -> ExitCode {
    program::main(cofide_connect::cli::execute)
}
