//! Who this agent is and how it recognises Connect: from the bootstrap file at first, from its own data folder ever after.

use std::path::PathBuf;

use cofide_connect_client::{Bootstrap, ConnectUrl};
use cofide_core::{ClusterId, ControlPlaneTrust, JoinTokenSecret, SpiffeId, TrustDomain};
use cofide_runtime::files::FileError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::JoinSettings;
use crate::own_cluster::OwnCluster;
use crate::state::{DataFolder, IDENTITY};

/// Where the agent belongs, and whom it talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub cluster: OwnCluster,
    pub connect_url: ConnectUrl,
    pub connect: ControlPlaneTrust,
    /// The token to join with; absent once it has been used.
    pub token: Option<JoinTokenSecret>,
    /// Stands for the token that was last used, without being of any use itself.
    used_token: Option<String>,
    /// The ID of the same cluster before it was made anew in Connect; until the agent has joined.
    left: Option<ClusterId>,
}

/// As it is kept. The bundle is in its JWKS form.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    trust_zone_id: cofide_core::TrustZoneId,
    trust_domain: String,
    cluster_id: ClusterId,
    cluster_name: cofide_core::Name,
    connect_url: String,
    connect_spiffe_id: String,
    connect_bundle: String,
    used_token: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    #[error(
        "this agent has not joined a cluster and has no bootstrap file. Make one with `cofidectl agent join-token create --trust-zone ZONE \
         --cluster CLUSTER --output-file bootstrap.yaml` and name it as bootstrap_file"
    )]
    NoBootstrap,
    #[error("{path} is missing, and this agent has not joined a cluster yet. Make it with `cofidectl agent join-token create`")]
    BootstrapMissing { path: PathBuf },
    #[error("bootstrap_file: {reason}{}{}", remedy(reason), if *has_joined { "; an agent that has joined, as this one, needs none" } else { "" })]
    Bootstrap { reason: cofide_connect_client::FileError, has_joined: bool },
    #[error("{key} is {configured} in the configuration but {found} in {origin}; correct one of them")]
    Contradiction { key: &'static str, configured: String, found: String, origin: &'static str },
    #[error(
        "the data folder {data_dir} belongs to the agent of cluster {held} of trust domain {held_domain}, and the bootstrap file is for \
         cluster {found} of trust domain {found_domain}; use a data folder of its own for each cluster"
    )]
    OtherCluster { data_dir: PathBuf, held: String, held_domain: String, found: String, found_domain: String },
    #[error("the agent's data folder: {0}")]
    Memory(#[from] FileError),
}

/// What to do about a bootstrap file that is there, as far as the reason does not say it itself.
fn remedy(reason: &cofide_connect_client::FileError) -> String {
    use cofide_connect_client::FileError as File;
    match reason {
        File::File(FileError::NotOwner { path, own, .. }) => {
            format!("; run the agent as that user, or give the file to this one: chown {own} {}", path.display())
        }
        File::Content { .. } => "; name the file that `cofidectl agent join-token create --output-file` wrote".to_owned(),
        File::File(_) => String::new(),
    }
}

fn hash(token: &JoinTokenSecret) -> String {
    hex::encode(Sha256::digest(format!("cofide-agent used token {}", token.expose())))
}

impl Membership {
    /// Puts together what the data folder, the bootstrap file and the configuration say.
    ///
    /// A bootstrap file with a token that was not used before means that the agent is to join, again if need be: that is
    /// how it is led to a Connect that was set up anew. A file whose token was used says nothing new, and what the agent
    /// has learned since about Connect's authorities is kept.
    ///
    /// A Connect that was set up anew, or in which the cluster was deleted and added again, knows the cluster by another ID.
    /// Trust domain and cluster name say that it is the same one to its operator, so the rest of the memory stays: clients
    /// keep their addresses and the last plan, of which Connect takes away what it does not know.
    pub fn load(settings: &JoinSettings, data: &DataFolder) -> Result<Self, MembershipError> {
        let stored = data.load::<Stored>(IDENTITY)?.and_then(Stored::restore);
        let bootstrap = match &settings.bootstrap_file {
            None => None,
            Some(path) => match Bootstrap::read(path) {
                Ok(bootstrap) => Some(bootstrap),
                // It has done its work and held a secret; whoever deleted it did well.
                Err(error) if error.is_not_found() && stored.is_some() => None,
                Err(error) if error.is_not_found() => return Err(MembershipError::BootstrapMissing { path: path.clone() }),
                Err(reason) => return Err(MembershipError::Bootstrap { reason, has_joined: stored.is_some() }),
            },
        };
        let mut membership = match (stored, bootstrap) {
            (None, None) => return Err(MembershipError::NoBootstrap),
            (Some(stored), None) => stored,
            (None, Some(bootstrap)) => Self::fresh(bootstrap, settings, None),
            (Some(stored), Some(bootstrap)) => stored.with_bootstrap(bootstrap, settings, data)?,
        };
        membership.agree(settings)?;
        if let Some(url) = &settings.connect_url {
            membership.connect_url = url.clone();
        }
        Ok(membership)
    }

    fn fresh(bootstrap: Bootstrap, settings: &JoinSettings, used_token: Option<String>) -> Self {
        let Bootstrap { connect_url, connect, trust_zone_id, trust_domain, cluster_id, cluster_name, agent_token } = bootstrap;
        let token = settings.agent_token.clone().map_or(agent_token, JoinTokenSecret::new);
        Self {
            cluster: OwnCluster { trust_domain, trust_zone_id, cluster_id, cluster_name },
            connect_url,
            connect,
            token: Some(token),
            used_token,
            left: None,
        }
    }

    fn with_bootstrap(self, bootstrap: Bootstrap, settings: &JoinSettings, data: &DataFolder) -> Result<Self, MembershipError> {
        let (held, found) = (&self.cluster, &bootstrap);
        if (&found.trust_domain, &found.cluster_name) != (&held.trust_domain, &held.cluster_name) {
            return Err(MembershipError::OtherCluster {
                data_dir: data.path().to_owned(),
                held: held.cluster_name.to_string(),
                held_domain: held.trust_domain.to_string(),
                found: found.cluster_name.to_string(),
                found_domain: found.trust_domain.to_string(),
            });
        }
        let left = (found.cluster_id != held.cluster_id).then(|| held.cluster_id.clone());
        let fresh = Self { left, ..Self::fresh(bootstrap, settings, self.used_token.clone()) };
        let is_used = fresh.token.as_ref().map(hash) == self.used_token;
        Ok(if is_used && fresh.left.is_none() { self } else { fresh })
    }

    /// What is configured beside a bootstrap file or a data folder must not say otherwise.
    fn agree(&self, settings: &JoinSettings) -> Result<(), MembershipError> {
        let origin = if self.token.is_some() { "the bootstrap file" } else { "the agent's data folder" };
        let check = |key, configured: Option<String>, found: String| match configured {
            Some(configured) if configured != found => Err(MembershipError::Contradiction { key, configured, found, origin }),
            _ => Ok(()),
        };
        fn text(value: Option<&impl ToString>) -> Option<String> {
            value.map(ToString::to_string)
        }
        check("cluster_id", text(settings.cluster_id.as_ref()), self.cluster.cluster_id.to_string())?;
        check("cluster_name", text(settings.cluster_name.as_ref()), self.cluster.cluster_name.to_string())?;
        check("trust_zone_id", text(settings.trust_zone_id.as_ref()), self.cluster.trust_zone_id.to_string())?;
        check("trust_domain", text(settings.trust_domain.as_ref()), self.cluster.trust_domain.to_string())?;
        let connect = self.connect.spiffe_id.trust_domain();
        check("connect_trust_domain", text(settings.connect_trust_domain.as_ref()), connect.to_string())
    }

    /// Notes that the token has been used and keeps everything else.
    pub fn joined(&mut self, data: &DataFolder) -> Result<(), FileError> {
        if let Some(token) = &self.token {
            self.used_token = Some(hash(token));
        }
        data.save(IDENTITY, &self.stored())?;
        self.token = None;
        if let Some(left) = self.left.take() {
            let OwnCluster { cluster_name, cluster_id, .. } = &self.cluster;
            tracing::info!(
                cluster = %cluster_name,
                was = %left,
                is = %cluster_id,
                "the bootstrap file was for a cluster that was made anew in Connect under the same name; its agent is this one from now on"
            );
        }
        Ok(())
    }

    /// Follows Connect's own rotation.
    pub fn follow(&mut self, connect: &ControlPlaneTrust, data: &DataFolder) -> Result<(), FileError> {
        self.connect = connect.clone();
        data.save(IDENTITY, &self.stored())
    }

    /// The bootstrap in the form that the way to Connect takes; `None` once joined.
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        let OwnCluster { trust_domain, trust_zone_id, cluster_id, cluster_name } = self.cluster.clone();
        let agent_token = self.token.clone()?;
        let (connect_url, connect) = (self.connect_url.clone(), self.connect.clone());
        Some(Bootstrap { connect_url, connect, trust_zone_id, trust_domain, cluster_id, cluster_name, agent_token })
    }

    fn stored(&self) -> Stored {
        Stored {
            trust_zone_id: self.cluster.trust_zone_id.clone(),
            trust_domain: self.cluster.trust_domain.to_string(),
            cluster_id: self.cluster.cluster_id.clone(),
            cluster_name: self.cluster.cluster_name.clone(),
            connect_url: self.connect_url.to_string(),
            connect_spiffe_id: self.connect.spiffe_id.to_string(),
            connect_bundle: cofide_svid::bundle::to_jwks(&self.connect.bundle),
            used_token: self.used_token.clone(),
        }
    }
}

impl Stored {
    fn restore(self) -> Option<Membership> {
        let spiffe_id = SpiffeId::new(&self.connect_spiffe_id).ok()?;
        let bundle = cofide_svid::bundle::from_jwks(spiffe_id.trust_domain(), self.connect_bundle.as_bytes()).ok()?;
        let cluster = OwnCluster {
            trust_domain: TrustDomain::new(&self.trust_domain).ok()?,
            trust_zone_id: self.trust_zone_id,
            cluster_id: self.cluster_id,
            cluster_name: self.cluster_name,
        };
        let connect_url = self.connect_url.parse().ok()?;
        Some(Membership {
            cluster,
            connect_url,
            connect: ControlPlaneTrust { spiffe_id, bundle },
            token: None,
            used_token: self.used_token,
            left: None,
        })
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
