//! Who a cluster's API server is, and who its administrator is.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::json;

/// The files that kube-apiserver starts with.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Signs the tokens of service accounts.
    pub(super) token_key: PathBuf,
    pub(super) token_public_key: PathBuf,
    /// Who may come with a fixed token: the administrator.
    pub(super) tokens: PathBuf,
    pub(super) admin_token: String,
    /// PEM.
    pub(super) authority: String,
}

impl Credentials {
    /// Makes them for a server at this address, in this folder.
    pub(super) fn create(folder: &Path, address: Ipv4Addr) -> Result<Self> {
        let mut authority = CertificateParams::new([])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "lab");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;

        let names = [address.to_string(), "127.0.0.1".into(), "localhost".into(), "kubernetes.default.svc".into()];
        let mut server = CertificateParams::new(names)?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?;

        let token_key = KeyPair::generate()?;
        let admin_token = uuid::Uuid::new_v4().to_string();
        let write = |name: &str, content: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, content)?;
            Ok(path)
        };
        Ok(Self {
            certificate: write("api-server.crt", &certificate.pem())?,
            key: write("api-server.key", &key.serialize_pem())?,
            token_key: write("service-accounts.key", &token_key.serialize_pem())?,
            token_public_key: write("service-accounts.pub", &token_key.public_key_pem())?,
            tokens: write("tokens.csv", &format!("{admin_token},admin,admin,\"system:masters\"\n"))?,
            admin_token,
            authority: authority_certificate.pem(),
        })
    }
}

/// A kubeconfig in JSON, which is YAML as well.
pub(super) fn kubeconfig(cluster: &str, server: &str, authority: &str, token: &str) -> String {
    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": cluster, "cluster": { "server": server, "certificate-authority-data": authority } }],
        "users": [{ "name": "user", "user": { "token": token } }],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": "user" } }],
        "current-context": cluster,
    });
    format!("{document:#}\n")
}
