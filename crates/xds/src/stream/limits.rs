//! What a client may make the server remember.

use tonic::Status;

/// Bounds on one stream. They are far above what an Envoy with ten thousand clusters asks for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Different type URLs.
    pub types: usize,
    /// Bytes of one resource name, version or type URL.
    pub name_bytes: usize,
    /// Bytes of all names and initial versions that a stream makes the server keep, bookkeeping included.
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { types: 64, name_bytes: 1024, total_bytes: 16 << 20 }
    }
}

/// What a request does that no client may do. It ends the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("type_url is empty; on an aggregated stream each request names the type it is about")]
    NoTypeUrl,
    #[error("type_url is {found:?}, but this service serves {expected:?} only")]
    OtherTypeUrl { expected: &'static str, found: String },
    #[error("more than {0} resource types on one stream")]
    Types(usize),
    #[error("a {what} of {found} bytes; at most {max} are allowed")]
    Length { what: &'static str, found: usize, max: usize },
    #[error("the resource names and versions of this stream exceed {0} bytes; subscribe to fewer resources")]
    Total(usize),
}

impl From<Violation> for Status {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::NoTypeUrl | Violation::OtherTypeUrl { .. } | Violation::Length { .. } => {
                Self::invalid_argument(violation.to_string())
            }
            Violation::Types(_) | Violation::Total(_) => Self::resource_exhausted(violation.to_string()),
        }
    }
}

impl Limits {
    pub(crate) fn check_length(&self, what: &'static str, text: &str) -> Result<(), Violation> {
        match text.len() {
            found if found > self.name_bytes => Err(Violation::Length { what, found, max: self.name_bytes }),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_names(&self, names: &[String]) -> Result<(), Violation> {
        names.iter().try_for_each(|name| self.check_length("resource name", name))
    }
}
