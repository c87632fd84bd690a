//! Whom to talk to: trust domains and SPIFFE IDs, and the ID that a certificate carries.

use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use spiffe::{SpiffeId, TrustDomain};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A trust domain, or one SPIFFE ID in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Any(TrustDomain),
    One(SpiffeId),
}

impl Peer {
    pub fn admits(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Any(trust_domain) => id.is_member_of(trust_domain),
            Self::One(one) => id == one,
        }
    }
}

impl FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("spiffe://") {
            SpiffeId::new(text).map(Self::One).map_err(|error| format!("{text} is not a SPIFFE ID: {error}"))
        } else {
            TrustDomain::new(text).map(Self::Any).map_err(|error| format!("{text} is not a trust domain: {error}"))
        }
    }
}

/// The SPIFFE ID in the leaf that the peer presented. The TLS handshake has verified the chain by now.
pub fn spiffe_id_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<SpiffeId> {
    let leaf = certificates?.first()?;
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => SpiffeId::new(uri).ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_trust_domain_or_one_id() {
        let id = SpiffeId::new("spiffe://a.test/ns/demo/sa/server").unwrap();
        assert!("a.test".parse::<Peer>().unwrap().admits(&id));
        assert!("spiffe://a.test/ns/demo/sa/server".parse::<Peer>().unwrap().admits(&id));
        assert!(!"b.test".parse::<Peer>().unwrap().admits(&id));
        assert!(!"spiffe://a.test/ns/demo/sa/other".parse::<Peer>().unwrap().admits(&id));
        assert!("a b".parse::<Peer>().is_err());
    }
}
