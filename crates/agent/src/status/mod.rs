//! Tells the owners of objects what became of them.
//!
//! What the status of one object should be is decided once ([`service`]). On a host the status of the objects in `demo.yaml`
//! is `demo.status.yaml` beside it: one document per object in the shape that the Kubernetes API server would show, so that
//! the same tools read both. [`render`] is pure; [`writer`] is the executor. In a cluster the status is a part of the object
//! ([`cluster`]), and what changes in it is an Event as well.
//! What is wrong with a manifest is also in the log, once ([`complaints`]).

pub mod cluster;
pub mod complaints;
pub(crate) mod events;
pub mod judge;
pub mod render;
pub mod reporter;
pub mod service;
pub mod writer;

use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Ends the name of every status file; the source passes such files over.
pub const STATUS_SUFFIX: &str = ".status.yaml";

/// `demo.yaml` has its status in `demo.status.yaml`, and `demo.yml`, which may lie beside it, in `demo.yml.status.yaml`.
pub fn status_file(manifest: &Path) -> PathBuf {
    let name = manifest.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".yaml").unwrap_or(&name);
    manifest.with_file_name(format!("{stem}{STATUS_SUFFIX}"))
}

/// The present time in RFC 3339, in seconds, as conditions have it.
fn now() -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manifest_has_a_status_file_of_its_own() {
        assert_eq!(status_file(Path::new("m/demo.yaml")), Path::new("m/demo.status.yaml"));
        assert_eq!(status_file(Path::new("m/demo.yml")), Path::new("m/demo.yml.status.yaml"));
        assert_eq!(status_file(Path::new("m/a.b.yaml")), Path::new("m/a.b.status.yaml"));
    }
}
