//! What a certificate has to be to stand in a trust bundle.

use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, X509Version};

use crate::der::{Element, tag};

/// A certificate authority of a trust domain, as one DER certificate.
///
/// Authorities go on from one trust zone to all its partners, and Envoy refuses a whole set of bundles for one certificate
/// in it that BoringSSL cannot read. So whatever comes from outside passes [`X509Authority::from_der`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct X509Authority {
    pub der: Vec<u8>,
    pub tainted: bool,
}

/// Reads on from the name of the certificate, as in `x509_authorities[0].asn1: ...`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509AuthorityError {
    #[error("is not one DER-encoded X.509 certificate: {0}")]
    Malformed(String),
    #[error("is a certificate of X.509 version {0}, and only version 3 can name an authority")]
    Version(u32),
    #[error("has a serial number that is not positive or longer than 20 bytes (RFC 5280 section 4.1.2.2)")]
    SerialNumber,
    #[error("is valid until before it is valid from")]
    Validity,
    #[error("has the same extension twice")]
    RepeatedExtension,
    #[error("is not the certificate of an authority: its basic constraints do not say CA (X509-SVID section 4.1)")]
    NoAuthority,
    #[error("is not the certificate of an authority: its key usage does not include keyCertSign (X509-SVID section 4.3)")]
    KeyUsage,
}

impl X509Authority {
    /// Takes a certificate that passes [`X509Authority::check`].
    pub fn from_der(der: impl Into<Vec<u8>>, tainted: bool) -> Result<Self, X509AuthorityError> {
        let authority = Self { der: der.into(), tainted };
        authority.check()?;
        Ok(authority)
    }

    /// Whether every consumer of a bundle can read this certificate, and as that of an authority: strict DER throughout,
    /// the form of RFC 5280 section 4.1, and CA by the X509-SVID specification, sections 4.1 and 4.3. An expired one is
    /// still an authority; it verifies nothing any more.
    pub fn check(&self) -> Result<(), X509AuthorityError> {
        let malformed = X509AuthorityError::Malformed;
        check_form(&Element::parse(&self.der).map_err(malformed)?)?;
        let (_, certificate) = X509Certificate::from_der(&self.der).map_err(|error| malformed(error.to_string()))?;
        if certificate.version() != X509Version::V3 {
            return Err(X509AuthorityError::Version(certificate.version().0.saturating_add(1)));
        }
        let serial_number = certificate.raw_serial();
        if serial_number.len() > 20 || serial_number == [0] || serial_number.first().is_none_or(|first| first & 0x80 != 0) {
            return Err(X509AuthorityError::SerialNumber);
        }
        let validity = certificate.validity();
        if validity.not_before.timestamp() > validity.not_after.timestamp() {
            return Err(X509AuthorityError::Validity);
        }
        if certificate.extensions_map().is_err() {
            return Err(X509AuthorityError::RepeatedExtension);
        }
        if !certificate.basic_constraints().ok().flatten().is_some_and(|extension| extension.value.ca) {
            return Err(X509AuthorityError::NoAuthority);
        }
        match certificate.key_usage() {
            Ok(None) => Ok(()),
            Ok(Some(extension)) if extension.value.key_cert_sign() => Ok(()),
            Ok(Some(_)) | Err(_) => Err(X509AuthorityError::KeyUsage),
        }
    }
}

/// Certificates are public but long: in a log line their size says enough.
impl fmt::Debug for X509Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X509Authority({} bytes, tainted: {})", self.der.len(), self.tainted)
    }
}

const VERSION: u8 = 0xa0;
const ISSUER_UNIQUE_ID: u8 = 0x81;
const SUBJECT_UNIQUE_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

/// That each sequence has its elements and no others (RFC 5280 section 4.1). What the parser passes over, another may
/// stumble on.
fn check_form(certificate: &Element<'_>) -> Result<(), X509AuthorityError> {
    let unless = |is_good: bool, what: &str| match is_good {
        true => Ok(()),
        false => Err(X509AuthorityError::Malformed(format!("{what} has not the elements that RFC 5280 gives it"))),
    };
    let whole = "the certificate";
    unless(certificate.tag == tag::SEQUENCE && certificate.tags() == [tag::SEQUENCE, tag::SEQUENCE, tag::BIT_STRING], whole)?;
    let [signed, algorithm, _] = certificate.children.as_slice() else { return unless(false, whole) };
    // A certificate that names no version is of the first, and has the serial number at this place.
    if signed.tags().first() == Some(&tag::INTEGER) {
        return Err(X509AuthorityError::Version(1));
    }
    let [version, serial_number, inner_algorithm, issuer, validity, subject, public_key, optional @ ..] = signed.children.as_slice() else {
        return unless(false, whole);
    };
    unless(version.tag == VERSION && version.tags() == [tag::INTEGER] && serial_number.tag == tag::INTEGER, whole)?;
    for algorithm in [algorithm, inner_algorithm] {
        unless(is_algorithm(algorithm), "a signature algorithm")?;
    }
    unless(is_name(issuer), "the issuer")?;
    unless(is_name(subject), "the subject")?;
    let is_time = |element: &Element<'_>| matches!(element.tag, tag::UTC_TIME | tag::GENERALIZED_TIME);
    unless(validity.tag == tag::SEQUENCE && validity.children.len() == 2 && validity.children.iter().all(is_time), "the validity")?;
    let is_key = public_key.tag == tag::SEQUENCE && public_key.tags() == [tag::SEQUENCE, tag::BIT_STRING];
    unless(is_key && public_key.children.first().is_some_and(is_algorithm), "the public key")?;
    let tags: Vec<u8> = optional.iter().map(|element| element.tag).collect();
    unless(
        tags.is_sorted_by(|one, next| one < next) && tags.iter().all(|tag| [ISSUER_UNIQUE_ID, SUBJECT_UNIQUE_ID, EXTENSIONS].contains(tag)),
        whole,
    )?;
    optional
        .iter()
        .filter(|element| element.tag == EXTENSIONS)
        .try_for_each(|element| unless(is_extensions(element), "the list of extensions"))
}

fn is_algorithm(element: &Element<'_>) -> bool {
    element.tag == tag::SEQUENCE && element.children.len() <= 2 && element.tags().first() == Some(&tag::OBJECT_IDENTIFIER)
}

/// Sets of pairs of a type and a directory string; domain components and mail addresses are IA5Strings.
fn is_name(element: &Element<'_>) -> bool {
    let is_attribute = |attribute: &Element<'_>| {
        attribute.tag == tag::SEQUENCE
            && matches!(
                attribute.tags().as_slice(),
                [
                    tag::OBJECT_IDENTIFIER,
                    tag::UTF8_STRING
                        | tag::NUMERIC_STRING
                        | tag::PRINTABLE_STRING
                        | tag::TELETEX_STRING
                        | tag::IA5_STRING
                        | tag::UNIVERSAL_STRING
                        | tag::BMP_STRING
                ]
            )
    };
    element.tag == tag::SEQUENCE && element.children.iter().all(|set| set.tag == tag::SET && set.children.iter().all(is_attribute))
}

/// The two extensions by which an authority is one are strict DER themselves; what the others hold is theirs to say.
fn is_extensions(element: &Element<'_>) -> bool {
    const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
    const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    let is_extension = |extension: &Element<'_>| {
        let [kind, .., value] = extension.children.as_slice() else { return false };
        let is_readable = || ![KEY_USAGE, BASIC_CONSTRAINTS].contains(&kind.content) || Element::parse(value.content).is_ok();
        let tags = extension.tags();
        let has_form =
            tags == [tag::OBJECT_IDENTIFIER, tag::OCTET_STRING] || tags == [tag::OBJECT_IDENTIFIER, tag::BOOLEAN, tag::OCTET_STRING];
        extension.tag == tag::SEQUENCE && has_form && is_readable()
    };
    match element.children.as_slice() {
        [list] => list.tag == tag::SEQUENCE && !list.children.is_empty() && list.children.iter().all(is_extension),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
