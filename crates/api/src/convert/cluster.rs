//! `proto.cluster.v1alpha1`

use cofide_core::{Cluster, ClusterId, Name, OrganizationId, Profile, TrustZoneId};
use prost::Message;

use super::{At, FieldError, also_owned, https_url, optional, optional_text, required, required_timestamp, timestamp};
use crate::types::cluster as proto;

/// What a client may say about a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<ClusterId>,
    pub organization_id: Option<OrganizationId>,
    pub trust_zone_id: TrustZoneId,
    pub name: Name,
    /// `kubernetes` where the client does not say.
    pub profile: Profile,
    pub kubernetes_context: Option<String>,
    pub external_server: bool,
    /// Without a trailing slash.
    pub oidc_issuer_url: Option<String>,
    pub oidc_issuer_ca_cert: Option<Vec<u8>>,
    /// Encoded, as [`Cluster`] keeps them.
    pub trust_provider: Option<Vec<u8>>,
    pub extra_helm_values: Option<Vec<u8>>,
}

impl TryFrom<&proto::Cluster> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::Cluster) -> Result<Self, FieldError> {
        draft(message).at("cluster")
    }
}

fn draft(message: &proto::Cluster) -> Result<Draft, FieldError> {
    Ok(Draft {
        id: optional("id", message.id.as_deref())?,
        organization_id: optional("org_id", message.org_id.as_deref())?,
        trust_zone_id: required("trust_zone_id", message.trust_zone_id.as_deref())?,
        name: required("name", message.name.as_deref())?,
        profile: optional("profile", message.profile.as_deref())?.unwrap_or(Profile::Kubernetes),
        kubernetes_context: optional_text(message.kubernetes_context.as_deref()).map(str::to_owned),
        external_server: message.external_server.unwrap_or_default(),
        oidc_issuer_url: optional_text(message.oidc_issuer_url.as_deref()).map(issuer_url).transpose()?,
        oidc_issuer_ca_cert: message.oidc_issuer_ca_cert.clone().filter(|certificate| !certificate.is_empty()),
        trust_provider: message.trust_provider.as_ref().map(Message::encode_to_vec),
        extra_helm_values: message.extra_helm_values.as_ref().map(Message::encode_to_vec),
    })
}

/// An issuer identifier is a URL without query and fragment (OpenID Connect Discovery, section 3).
fn issuer_url(text: &str) -> Result<String, FieldError> {
    let url = https_url("oidc_issuer_url", text)?;
    if url.contains(['?', '#']) {
        return Err(FieldError::new("oidc_issuer_url", "must have neither a query nor a fragment"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

impl TryFrom<proto::Cluster> for Cluster {
    type Error = FieldError;
    fn try_from(message: proto::Cluster) -> Result<Self, FieldError> {
        let convert = || {
            let draft = draft(&message)?;
            Ok(Self {
                id: required("id", message.id.as_deref())?,
                organization_id: required("org_id", message.org_id.as_deref())?,
                trust_zone_id: draft.trust_zone_id,
                name: draft.name,
                profile: draft.profile,
                kubernetes_context: draft.kubernetes_context,
                external_server: draft.external_server,
                oidc_issuer_url: draft.oidc_issuer_url,
                oidc_issuer_ca_cert: draft.oidc_issuer_ca_cert,
                trust_provider: draft.trust_provider,
                extra_helm_values: draft.extra_helm_values,
                created_at: required_timestamp("created_at", message.created_at.as_ref())?,
                updated_at: required_timestamp("last_updated_at", message.last_updated_at.as_ref())?,
            })
        };
        convert().at("cluster")
    }
}

impl From<&Cluster> for proto::Cluster {
    fn from(cluster: &Cluster) -> Self {
        Self {
            id: Some(cluster.id.to_string()),
            org_id: Some(cluster.organization_id.to_string()),
            trust_zone_id: Some(cluster.trust_zone_id.to_string()),
            name: Some(cluster.name.to_string()),
            profile: Some(cluster.profile.to_string()),
            kubernetes_context: cluster.kubernetes_context.clone(),
            external_server: Some(cluster.external_server),
            oidc_issuer_url: cluster.oidc_issuer_url.clone(),
            oidc_issuer_ca_cert: cluster.oidc_issuer_ca_cert.clone(),
            trust_provider: decode(cluster.trust_provider.as_deref()),
            extra_helm_values: decode(cluster.extra_helm_values.as_deref()),
            created_at: Some(timestamp(cluster.created_at)),
            last_updated_at: Some(timestamp(cluster.updated_at)),
        }
    }
}

/// The bytes were encoded by a [`Draft`]. Should they have been damaged since, the rest of the cluster still counts.
fn decode<M: Message + Default>(bytes: Option<&[u8]>) -> Option<M> {
    bytes.and_then(|bytes| M::decode(bytes).ok())
}

also_owned!(Cluster => proto::Cluster);
