//! The version of a program, as every program prints it.

/// The version of the workspace; all programs are released together.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `cofidectl 0.1.0 (linux/amd64)`: the shape that scripts of the field parse, with Go's names for the platform.
pub fn line(program: &str) -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{program} {VERSION} ({}/{architecture})", std::env::consts::OS)
}
