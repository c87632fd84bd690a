//! Where the control plane keeps what it signs with, and what its administrator is recognised by.
//!
//! One that has its database for itself keeps both in files of its data folder. Several that share a database must be one to
//! agents and users, whichever of them answers, also when none of them was there before: these keep both in the database.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cofide_connect_client::AccessToken;
use cofide_runtime::files::{self, Mode};
use cofide_store::{ControlPlaneSecrets, ControlPlaneSecretsMut, Store, WriteTransaction};
use cofide_svid::authority::X509CertificateAuthority;
use cofide_svid::bundle::package::PackageSigner;

use crate::credential;

const AUTHORITY: &str = "authority";
const ADMIN_TOKEN: &str = "admin-token";
const PACKAGE_KEY: &str = "package-key";
const PACKAGE_KEY_FILE: &str = "package-key.pem";

#[derive(Clone)]
pub enum Keeping {
    Folder(PathBuf),
    Database(Store),
}

impl Keeping {
    /// The administrator's token that all replicas share; the first makes it. `None` where the folder has it.
    pub async fn shared_admin_token(&self) -> Result<Option<AccessToken>> {
        let Self::Database(store) = self else { return Ok(None) };
        let mut transaction = store.begin_write().await?;
        if let Some(held) = transaction.control_plane_secret(ADMIN_TOKEN).await? {
            return Ok(Some(AccessToken::new(held)));
        }
        let token = credential::new_token();
        transaction.put_control_plane_secret(ADMIN_TOKEN, token.expose()).await?;
        transaction.commit(None, Vec::new()).await.context("cannot keep the admin token in the database")?;
        Ok(Some(token))
    }
}

impl Keeping {
    /// The key that signs bundle packages, which partners pin: made once and kept. `true` where it was made.
    pub async fn package_signer(&self, data_dir: &Path) -> Result<(PackageSigner, bool)> {
        match self {
            Self::Folder(_) => package_signer_of_folder(&data_dir.join(PACKAGE_KEY_FILE)),
            Self::Database(store) => {
                let mut transaction = store.begin_write().await?;
                if let Some(held) = transaction.control_plane_secret(PACKAGE_KEY).await? {
                    return Ok((PackageSigner::from_pem(&held).context("cannot use the key of bundle packages in the database")?, false));
                }
                let signer = PackageSigner::create()?;
                transaction.put_control_plane_secret(PACKAGE_KEY, &signer.to_pem()).await?;
                transaction.commit(None, Vec::new()).await.context("cannot keep the key of bundle packages in the database")?;
                Ok((signer, true))
            }
        }
    }
}

fn package_signer_of_folder(path: &Path) -> Result<(PackageSigner, bool)> {
    match files::read_secret(path) {
        Ok(text) => {
            let text = std::str::from_utf8(&text).with_context(|| format!("{} is no key in PEM", path.display()))?;
            Ok((PackageSigner::from_pem(text).with_context(|| format!("cannot use {}", path.display()))?, false))
        }
        Err(error) if error.is_not_found() => {
            let signer = PackageSigner::create()?;
            files::write_atomic(path, signer.to_pem().as_bytes(), Mode::Secret)?;
            Ok((signer, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// The name of the authority's place in errors.
pub(crate) fn authority_place() -> &'static Path {
    Path::new("the authority in the database")
}

pub(crate) async fn authority_text(transaction: &mut impl ControlPlaneSecrets) -> Result<Option<String>> {
    transaction.control_plane_secret(AUTHORITY).await.context("cannot read the control plane's own authority from the database")
}

/// Commits.
pub(crate) async fn keep_authority(mut transaction: WriteTransaction, authority: &X509CertificateAuthority) -> Result<()> {
    transaction.put_control_plane_secret(AUTHORITY, &authority.to_text()).await?;
    transaction.commit(None, Vec::new()).await.context("cannot keep the control plane's own authority in the database")?;
    Ok(())
}
