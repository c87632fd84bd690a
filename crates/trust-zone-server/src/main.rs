use std::process::ExitCode;

use cofide_runtime::program;

fn main() -> ExitCode {
    program::main(cofide_trust_zone_server::commands::execute)
}
