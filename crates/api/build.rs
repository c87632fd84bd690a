//! Generates messages, clients and servers from `proto/`, and the descriptors for server reflection.
//!
//! The compiler is protox, so that no `protoc` is needed to build.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    println!("cargo::rerun-if-changed=proto");

    let mut files = Vec::new();
    collect_protos(Path::new("proto"), &mut files)?;
    // In a fixed order the output is the same on every machine.
    files.sort();

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let set = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    std::fs::write(out_dir.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    // The Workload API has no package. Generated apart, it gets a module of its own instead of the root of all others.
    let (mut workload, mut rest) = (set.clone(), set);
    workload.file.retain(|file| file.package().is_empty() || file.package() == "google.protobuf");
    rest.file.retain(|file| !file.package().is_empty());

    let workload_dir = out_dir.join("workload");
    std::fs::create_dir_all(&workload_dir)?;
    generator().out_dir(workload_dir).compile_fds(workload)?;
    generator().include_file("packages.rs").compile_fds(rest)?;
    Ok(())
}

/// Messages that carry a token or a private key; `src/redact.rs` prints them without it.
const WITH_SECRETS: [&str; 5] = [
    ".proto.connect.agent_service.v1alpha1.CreateAgentJoinTokenResponse",
    ".proto.connect.trust_zone_service.v1alpha1.RegisterAgentRequest",
    ".X509SVID",
    ".JWTSVID",
    ".ValidateJWTSVIDRequest",
];

/// Maps are ordered, because a resource's version is a hash of its encoded form: equal content must give equal bytes.
fn generator() -> tonic_prost_build::Builder {
    tonic_prost_build::configure().btree_map(".").skip_debug(WITH_SECRETS)
}

fn collect_protos(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
