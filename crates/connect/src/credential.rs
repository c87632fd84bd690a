//! The administrator's credential file: the access token, and how to recognise this control plane.
//!
//! The file is the only place where the token is. Whoever deletes it and starts the control plane again gets a new one,
//! and the old one is void.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cofide_core::{Bundle, SpiffeId};
use cofide_runtime::files::{self, Mode};
use serde::{Deserialize, Serialize};

use crate::id;

#[derive(Serialize, Deserialize, PartialEq)]
struct Credential {
    connect_url: String,
    connect_trust_domain: String,
    connect_spiffe_id: String,
    connect_bundle: serde_json::Value,
    access_token: String,
}

#[derive(Clone)]
pub struct AdminCredential {
    pub path: PathBuf,
    pub token: String,
    /// Whether the file was made just now.
    pub is_new: bool,
}

/// Makes the file where there is none, and brings an old one up to date, keeping its token.
pub fn keep(data_dir: &Path, url: &str, spiffe_id: &SpiffeId, bundle: &Bundle) -> Result<AdminCredential> {
    let path = data_dir.join("admin-credential.json");
    let held: Option<Credential> = match files::read_secret(&path) {
        Ok(content) => Some(serde_json::from_slice(&content).with_context(|| {
            format!("{} is not a credential file; delete it to get a new credential at the next start", path.display())
        })?),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error).context("cannot use the admin credential"),
    };
    let token = held.as_ref().map_or_else(|| id::secret("cofide-admin"), |held| held.access_token.clone());
    let credential = Credential {
        connect_url: url.to_owned(),
        connect_trust_domain: spiffe_id.trust_domain().to_string(),
        connect_spiffe_id: spiffe_id.to_string(),
        connect_bundle: serde_json::from_str(&cofide_svid::bundle::to_jwks(bundle)).context("the bundle is no JSON")?,
        access_token: token.clone(),
    };
    if held.as_ref() != Some(&credential) {
        let content = serde_json::to_vec_pretty(&credential).context("cannot write the admin credential")?;
        files::write_atomic(&path, &content, Mode::Secret).context("cannot write the admin credential")?;
    }
    Ok(AdminCredential { path, token, is_new: held.is_none() })
}
