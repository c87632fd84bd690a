//! Identities and bundles in the form of Envoy's secrets.

use std::collections::BTreeMap;

use cofide_core::Bundle;
use cofide_svid::X509Svid;
use cofide_svid::x509::certificate_pem;
use cofide_xds::envoy::envoy::config::core::v3::{DataSource, TypedExtensionConfig, data_source};
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain;
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret,
};
use cofide_xds::type_url::SECRET;
use cofide_xds::{Any, Resource};
use prost::Message;

use crate::config;
use crate::workload::{WorkloadUpdate, readable_authorities};

/// Envoy's validator that picks the authorities by the trust domain of the peer's SPIFFE ID. With a plain list of
/// authorities any of them could vouch for any trust domain.
const SPIFFE_VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const SPIFFE_VALIDATOR_CONFIG: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// How bundles are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For the validator: each trust domain with its own bundle.
    SpiffeValidator,
    /// As a list of authorities. Of several bundles there is none, for each authority in it would vouch for every trust domain.
    Plain,
}

/// All secrets of a workload that has an identity, under all their names.
pub(super) fn all(update: &WorkloadUpdate, names: &config::Sds, form: Form) -> Vec<Resource> {
    let mut secrets = BTreeMap::new();
    // The first of several identities with one SPIFFE ID wins, and the default is the first of all.
    for identity in &update.identities {
        secrets.entry(identity.svid.spiffe_id.to_string()).or_insert_with(|| certificate(&identity.svid));
    }
    if let Some(first) = update.identities.first() {
        secrets.insert(names.default_svid_name.clone(), certificate(&first.svid));
    }
    let bundles = || std::iter::once(&update.bundle).chain(update.federated_bundles.values());
    let one = |bundle: &Bundle| match form {
        Form::SpiffeValidator => validation([bundle]),
        Form::Plain => list(bundle),
    };
    for bundle in bundles() {
        secrets.insert(bundle.trust_domain.id_string(), one(bundle));
    }
    secrets.insert(names.default_bundle_name.clone(), one(&update.bundle));
    if form == Form::SpiffeValidator {
        secrets.insert(names.default_all_bundles_name.clone(), validation(bundles().map(AsRef::as_ref)));
    }
    let resource = |(name, kind): (String, secret::Type)| Resource::new(SECRET, name.clone(), &Secret { name, r#type: Some(kind) });
    secrets.into_iter().map(resource).collect()
}

fn certificate(svid: &X509Svid) -> secret::Type {
    let (certificates, private_key) = svid.to_pem();
    secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: Some(inline(certificates)),
        private_key: Some(inline(private_key.to_string())),
        ..TlsCertificate::default()
    })
}

fn pem(bundle: &Bundle) -> String {
    readable_authorities(bundle).into_iter().map(|authority| certificate_pem(&authority.der)).collect()
}

fn list(bundle: &Bundle) -> secret::Type {
    secret::Type::ValidationContext(CertificateValidationContext {
        trusted_ca: Some(inline(pem(bundle))),
        ..CertificateValidationContext::default()
    })
}

/// Each trust domain verifies against its own bundle.
fn validation<'a>(bundles: impl IntoIterator<Item = &'a Bundle>) -> secret::Type {
    // Envoy refuses a whole context for one certificate that it cannot read, or for one bundle without certificates.
    let domain = |bundle: &Bundle| {
        let certificates = pem(bundle);
        let trust_bundle = (!certificates.is_empty()).then(|| inline(certificates))?;
        Some(TrustDomain { name: bundle.trust_domain.to_string(), trust_bundle: Some(trust_bundle), ..TrustDomain::default() })
    };
    let mut trust_domains: Vec<_> = bundles.into_iter().filter_map(domain).collect();
    trust_domains.sort_by(|one, other| one.name.cmp(&other.name));
    let config = SpiffeCertValidatorConfig { trust_domains, ..SpiffeCertValidatorConfig::default() };
    secret::Type::ValidationContext(CertificateValidationContext {
        custom_validator_config: Some(TypedExtensionConfig {
            name: SPIFFE_VALIDATOR.into(),
            typed_config: Some(Any { type_url: SPIFFE_VALIDATOR_CONFIG.into(), value: config.encode_to_vec() }),
        }),
        ..CertificateValidationContext::default()
    })
}

fn inline(text: String) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::InlineBytes(text.into_bytes())), ..DataSource::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::testing::{bundle, odd};

    /// The certificates of each trust domain, in PEM.
    fn trusted(bundles: &[Bundle]) -> Vec<(String, String)> {
        let secret::Type::ValidationContext(context) = validation(bundles) else { panic!("no validation context") };
        let config = context.custom_validator_config.unwrap().typed_config.unwrap();
        let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).unwrap();
        let read = |domain: TrustDomain| match domain.trust_bundle.unwrap().specifier.unwrap() {
            data_source::Specifier::InlineBytes(pem) => (domain.name, String::from_utf8(pem).unwrap()),
            other => panic!("{other:?}"),
        };
        config.trust_domains.into_iter().map(read).collect()
    }

    #[test]
    fn an_authority_that_envoy_cannot_read_costs_no_other_authority_and_no_other_domain() {
        let [own, partner, hopeless] = ["a.test", "b.test", "c.test"].map(bundle);
        let odd_alone = Bundle { x509_authorities: odd(&hopeless).x509_authorities[..1].to_vec(), ..hopeless };
        let sent = trusted(&[own.clone(), odd(&partner), odd_alone]);
        let pem = |bundle: &Bundle| certificate_pem(&bundle.x509_authorities[0].der);
        assert_eq!(sent, [("a.test".to_owned(), pem(&own)), ("b.test".to_owned(), pem(&partner))]);
    }
}
