//! The administrator's credential file: the access token, and how to recognise this control plane.
//!
//! The file is the only place where the token is. Whoever deletes it and starts the control plane again gets a new one,
//! and the old one is void. Where several replicas share a database the token is there too, and the file is for reading.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cofide_connect_client::{AccessToken, ConnectUrl, Credential};
use cofide_core::ControlPlaneTrust;

use crate::id;

const FILE: &str = "admin-credential.json";

#[derive(Clone)]
pub struct AdminCredential {
    pub path: PathBuf,
    pub token: AccessToken,
    /// Whether the file was made just now.
    pub is_new: bool,
}

pub(crate) fn new_token() -> AccessToken {
    AccessToken::new(id::secret("cofide-admin"))
}

/// The token of the file, or a new one.
pub fn token(data_dir: &Path) -> Result<AccessToken> {
    let held = read(&data_dir.join(FILE))?;
    Ok(held.map_or_else(new_token, |held| held.access_token))
}

/// Makes the file where there is none, and brings an old one up to date, for this token.
pub fn keep(data_dir: &Path, token: AccessToken, url: &ConnectUrl, trust: ControlPlaneTrust) -> Result<AdminCredential> {
    let path = data_dir.join(FILE);
    let held = read(&path)?;
    let credential = AdminCredential { path, token, is_new: held.is_none() };
    credential.write(held.as_ref(), url, trust)?;
    Ok(credential)
}

impl AdminCredential {
    /// Brings the file up to date while the control plane runs. One that was taken away stays away: the token that is
    /// good was in it, and another would not be.
    pub fn refresh(&self, url: &ConnectUrl, trust: ControlPlaneTrust) -> Result<()> {
        match read(&self.path)? {
            Some(held) => self.write(Some(&held), url, trust),
            None => Ok(()),
        }
    }

    fn write(&self, held: Option<&Credential>, url: &ConnectUrl, trust: ControlPlaneTrust) -> Result<()> {
        let credential = Credential { access_token: self.token.clone(), connect_url: Some(url.clone()), connect: Some(trust) };
        if held == Some(&credential) {
            return Ok(());
        }
        credential.write(&self.path).context("cannot write the admin credential")
    }
}

/// The file as it is, for whoever may read the data folder.
pub fn read_text(data_dir: &Path) -> Result<String> {
    let path = data_dir.join(FILE);
    let text = cofide_runtime::files::read_secret(&path).context("there is no admin credential; `cofide-connect serve` writes it")?;
    String::from_utf8(text.to_vec()).with_context(|| format!("{} is not a text", path.display()))
}

fn read(path: &Path) -> Result<Option<Credential>> {
    match Credential::read(path) {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error).context("cannot use the admin credential; mend the file, or delete it to get a new one at the next start"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::{Bundle, SpiffeId};
    use cofide_svid::authority::{self, X509CertificateAuthority, X509Settings};

    fn trust() -> ControlPlaneTrust {
        let spiffe_id = SpiffeId::new("spiffe://management.local/ns/connect/sa/cofide-connect-api").unwrap();
        let domain = spiffe_id.trust_domain().clone();
        let authority = X509CertificateAuthority::create(domain, X509Settings::default(), std::time::SystemTime::now()).unwrap();
        ControlPlaneTrust { spiffe_id, bundle: authority::bundle(&authority, None, 0) }
    }

    #[test]
    fn the_token_is_made_once_and_the_rest_follows() {
        let folder = tempfile::tempdir().unwrap();
        let url = "127.0.0.1:8443".parse().unwrap();
        let trust = trust();
        let first = keep(folder.path(), token(folder.path()).unwrap(), &url, trust.clone()).unwrap();
        let written = std::fs::metadata(&first.path).unwrap().modified().unwrap();
        let again = keep(folder.path(), token(folder.path()).unwrap(), &url, trust.clone()).unwrap();
        assert_eq!((first.is_new, again.is_new, first.token == again.token), (true, false, true));
        assert_eq!(std::fs::metadata(&first.path).unwrap().modified().unwrap(), written, "what is up to date is not written again");

        let rotated =
            ControlPlaneTrust { bundle: Bundle { sequence_number: trust.bundle.sequence_number + 1, ..trust.bundle.clone() }, ..trust };
        again.refresh(&url, rotated.clone()).unwrap();
        let read = Credential::read(&again.path).unwrap();
        assert_eq!((read.connect, read.access_token == first.token), (Some(rotated), true));
    }

    #[test]
    fn what_is_printed_is_the_file_and_without_one_the_way_to_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(format!("{:#}", read_text(folder.path()).unwrap_err()).contains("cofide-connect serve"));
        let credential = keep(folder.path(), token(folder.path()).unwrap(), &"127.0.0.1:8443".parse().unwrap(), trust()).unwrap();
        assert_eq!(read_text(folder.path()).unwrap(), std::fs::read_to_string(credential.path).unwrap());
    }

    #[test]
    fn a_file_that_is_taken_away_comes_back_with_the_next_start_only() {
        let folder = tempfile::tempdir().unwrap();
        let url = "127.0.0.1:8443".parse().unwrap();
        let credential = keep(folder.path(), token(folder.path()).unwrap(), &url, trust()).unwrap();
        std::fs::remove_file(&credential.path).unwrap();
        credential.refresh(&url, trust()).unwrap();
        assert!(!credential.path.exists());
        let next = keep(folder.path(), token(folder.path()).unwrap(), &url, trust()).unwrap();
        assert!(next.is_new && next.token != credential.token);
    }
}
