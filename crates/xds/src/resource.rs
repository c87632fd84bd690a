//! A named piece of configuration, and the version that is its content.

use std::fmt;
use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};

use crate::Any;

/// One resource as it goes over the wire.
#[derive(Clone, PartialEq)]
pub struct Resource {
    /// Shared with every stream that keeps it.
    name: Arc<str>,
    version: String,
    fingerprint: Fingerprint,
    body: Any,
}

impl Resource {
    /// Encodes a message. The version is the SHA-256 of the encoding, cut to 16 bytes and written in hexadecimal, so
    /// it is the same in every process and after every restart.
    ///
    /// Protobuf maps are encoded in no fixed order: a message with a map of two or more keys may get another version
    /// each time it is built. Such a message is best avoided; nothing breaks, but it is sent again.
    pub fn new(type_url: impl Into<String>, name: impl Into<String>, message: &impl Message) -> Self {
        Self::from_any(name, Any { type_url: type_url.into(), value: message.encode_to_vec() })
    }

    /// From a message that is encoded already.
    pub fn from_any(name: impl Into<String>, body: Any) -> Self {
        let version = hex::encode(&Sha256::digest(&body.value)[..16]);
        let name: Arc<str> = name.into().into();
        Self { fingerprint: fingerprint(&name, &version), name, version, body }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub fn body(&self) -> &Any {
        &self.body
    }

    pub fn type_url(&self) -> &str {
        &self.body.type_url
    }

    /// Bytes on the wire, near enough to keep a response below a size.
    pub(crate) fn wire_size(&self) -> usize {
        self.name.len() + self.version.len() + self.body.type_url.len() + self.body.value.len() + 32
    }
}

// A body can hold a private key (SDS), so it is never printed.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({} version {}, {} bytes)", self.name, self.version, self.body.value.len())
    }
}

/// Name and version in one, for [`SetVersion`]. A resource computes it once for all streams.
pub(crate) type Fingerprint = [u8; 16];

pub(crate) fn fingerprint(name: &str, version: &str) -> Fingerprint {
    let digest = Sha256::new().chain_update(name).chain_update([0]).chain_update(version).finalize();
    std::array::from_fn(|index| digest[index])
}

/// The version of a set of resources: it follows from the names and versions in it and not from how they got there, and
/// adding or removing one costs the same however many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetVersion(Fingerprint);

impl SetVersion {
    /// Puts a resource in, or takes it out again: both are the same exclusive or.
    pub(crate) fn toggle(&mut self, fingerprint: Fingerprint) {
        self.0.iter_mut().zip(fingerprint).for_each(|(byte, other)| *byte ^= other);
    }
}

impl fmt::Display for SetVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_has_an_equal_version_whatever_its_name() {
        let resource = |name: &str, text: &str| Resource::new("t", name, &text.to_owned());
        assert_eq!(resource("a", "one").version(), resource("b", "one").version());
        assert_ne!(resource("a", "one").version(), resource("a", "two").version());
        assert_eq!(resource("a", "one").version().len(), 32);
    }

    #[test]
    fn the_version_of_a_set_forgets_the_way_to_it() {
        let mut one = SetVersion::default();
        one.toggle(fingerprint("a", "1"));
        one.toggle(fingerprint("b", "1"));
        let mut other = SetVersion::default();
        for (name, version) in [("b", "1"), ("a", "0"), ("a", "0"), ("a", "1")] {
            other.toggle(fingerprint(name, version));
        }
        assert_eq!(one, other);
        other.toggle(fingerprint("b", "1"));
        assert_ne!(one, other);
    }

    #[test]
    fn a_body_is_not_printed() {
        let printed = format!("{:?}", Resource::new("t", "key", &"-----BEGIN PRIVATE KEY-----".to_owned()));
        assert!(!printed.contains("PRIVATE"), "{printed}");
    }
}
