//! Trust domains for tests: well-behaved ones through the product's own authority, and others through bare rcgen,
//! which signs whatever it is told to.

use std::time::{Duration, SystemTime};

use cofide_core::{Bundle, SpiffeId, TrustDomain, X509Authority};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;

use crate::authority::{X509CertificateAuthority, X509Settings};
use crate::bundle::BundleSet;
use crate::x509::X509Svid;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

pub(crate) fn id(id: &str) -> SpiffeId {
    SpiffeId::new(id).unwrap()
}

pub(crate) fn authority(name: &str, now: SystemTime) -> X509CertificateAuthority {
    X509CertificateAuthority::create(domain(name), X509Settings::default(), now).unwrap()
}

pub(crate) fn svid(authority: &X509CertificateAuthority, spiffe_id: &str, now: SystemTime) -> X509Svid {
    authority.issue(&id(spiffe_id), &[], &[], HOUR, now).unwrap()
}

pub(crate) fn bundle(authority: &X509CertificateAuthority) -> Bundle {
    crate::authority::bundle(authority, None, 0)
}

pub(crate) fn bundles<'a>(authorities: impl IntoIterator<Item = &'a X509CertificateAuthority>) -> BundleSet {
    authorities.into_iter().map(bundle).collect()
}

/// An authority without scruples.
pub(crate) struct Rogue {
    parameters: CertificateParams,
    key: KeyPair,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Rogue {
    pub(crate) fn new(common_name: &str, now: SystemTime) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters.not_before = (now - HOUR).into();
        parameters.not_after = (now + HOUR).into();
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().into();
        Self { parameters, key, certificate }
    }

    pub(crate) fn bundle(&self, trust_domain: &str) -> Bundle {
        let authority = X509Authority { der: self.certificate.to_vec(), tainted: false };
        Bundle { x509_authorities: vec![authority], ..Bundle::empty(domain(trust_domain)) }
    }

    pub(crate) fn sign(&self, parameters: &CertificateParams) -> CertificateDer<'static> {
        parameters.signed_by(&KeyPair::generate().unwrap(), &Issuer::from_params(&self.parameters, &self.key)).unwrap().into()
    }

    /// An authority below this one; `change` may spoil it.
    pub(crate) fn intermediate(&self, common_name: &str, now: SystemTime, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut below = Self::new(common_name, now);
        change(&mut below.parameters);
        let issuer = Issuer::from_params(&self.parameters, &self.key);
        below.certificate = below.parameters.signed_by(&below.key, &issuer).unwrap().into();
        below
    }
}

/// A proper leaf, for tests to spoil.
pub(crate) fn leaf(uris: &[&str], now: SystemTime) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    parameters.not_before = (now - Duration::from_secs(60)).into();
    parameters.not_after = (now + Duration::from_secs(600)).into();
    parameters
}
