//! The administrator's credential file: the access token, and how to recognise this control plane.
//!
//! The file is the only place where the token is. Whoever deletes it and starts the control plane again gets a new one,
//! and the old one is void.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cofide_connect_client::{AccessToken, ConnectUrl, Credential};
use cofide_core::ControlPlaneTrust;

use crate::id;

#[derive(Clone)]
pub struct AdminCredential {
    pub path: PathBuf,
    pub token: AccessToken,
    /// Whether the file was made just now.
    pub is_new: bool,
}

/// Makes the file where there is none, and brings an old one up to date, keeping its token.
pub fn keep(data_dir: &Path, url: &ConnectUrl, trust: ControlPlaneTrust) -> Result<AdminCredential> {
    let path = data_dir.join("admin-credential.json");
    let held = match Credential::read(&path) {
        Ok(held) => Some(held),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error).context("cannot use the admin credential; mend the file, or delete it to get a new one"),
    };
    let token = held.as_ref().map_or_else(|| AccessToken::new(id::secret("cofide-admin")), |held| held.access_token.clone());
    let credential = Credential { access_token: token.clone(), connect_url: Some(url.clone()), connect: Some(trust) };
    if held.as_ref() != Some(&credential) {
        credential.write(&path).context("cannot write the admin credential")?;
    }
    Ok(AdminCredential { path, token, is_new: held.is_none() })
}
