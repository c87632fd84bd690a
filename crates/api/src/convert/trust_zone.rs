//! `proto.trust_zone.v1alpha1`

use cofide_core::{Bundle, BundleEndpoint, BundleEndpointProfile, Name, OrganizationId, SpiffeId, TrustDomain, TrustZone, TrustZoneId};

use super::bundle::bundle_of;
use super::{
    At, FieldError, also_owned, enumeration, https_url, optional, optional_text, parse, required, required_timestamp, timestamp,
    trust_domain,
};
use crate::types::trust_zone as proto;

/// What a client may say about a trust zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<TrustZoneId>,
    pub organization_id: Option<OrganizationId>,
    pub name: Name,
    pub trust_domain: TrustDomain,
    /// Of `trust_domain`.
    pub bundle: Option<Bundle>,
    pub bundle_endpoint: Option<BundleEndpoint>,
    pub jwt_issuer: Option<String>,
    pub is_management_zone: bool,
}

impl TryFrom<&proto::TrustZone> for Draft {
    type Error = FieldError;
    fn try_from(message: &proto::TrustZone) -> Result<Self, FieldError> {
        draft(message).at("trust_zone")
    }
}

fn draft(message: &proto::TrustZone) -> Result<Draft, FieldError> {
    let trust_domain = trust_domain("trust_domain", &message.trust_domain)?;
    let profile = message.bundle_endpoint_profile.unwrap_or_default();
    Ok(Draft {
        id: optional("id", message.id.as_deref())?,
        organization_id: optional("org_id", message.org_id.as_deref())?,
        name: parse("name", &message.name)?,
        bundle: message.bundle.as_ref().map(|bundle| bundle_of(&trust_domain, bundle).at("bundle")).transpose()?,
        bundle_endpoint: bundle_endpoint(message.bundle_endpoint_url.as_deref(), profile, message.bundle_endpoint_spiffe_id.as_deref())?,
        jwt_issuer: optional_text(message.jwt_issuer.as_deref()).map(str::to_owned),
        is_management_zone: message.is_management_zone,
        trust_domain,
    })
}

/// The fields `bundle_endpoint_url`, `bundle_endpoint_profile` and `bundle_endpoint_spiffe_id`. A profile alone, which clients
/// send before there is an endpoint, is no endpoint.
pub(super) fn bundle_endpoint(url: Option<&str>, profile: i32, spiffe_id: Option<&str>) -> Result<Option<BundleEndpoint>, FieldError> {
    let profile = enumeration::<proto::BundleEndpointProfile>("bundle_endpoint_profile", profile)?;
    let Some(url) = optional_text(url) else { return Ok(None) };
    let url = https_url("bundle_endpoint_url", url)?;
    let profile = match profile {
        Some(proto::BundleEndpointProfile::HttpsSpiffe) => BundleEndpointProfile::HttpsSpiffe,
        Some(proto::BundleEndpointProfile::HttpsWeb) => BundleEndpointProfile::HttpsWeb,
        Some(proto::BundleEndpointProfile::Unspecified) | None => return Err(FieldError::missing("bundle_endpoint_profile")),
    };
    let spiffe_id: Option<SpiffeId> = optional("bundle_endpoint_spiffe_id", spiffe_id)?;
    if spiffe_id.is_some() && profile == BundleEndpointProfile::HttpsWeb {
        let reason = "is for the profile https_spiffe; with https_web the server proves itself by its host name";
        return Err(FieldError::new("bundle_endpoint_spiffe_id", reason));
    }
    Ok(Some(BundleEndpoint { url, profile, spiffe_id }))
}

pub(super) fn spiffe_id(endpoint: Option<&BundleEndpoint>) -> Option<String> {
    endpoint.and_then(|endpoint| endpoint.spiffe_id.as_ref()).map(ToString::to_string)
}

pub(super) fn profile(profile: BundleEndpointProfile) -> proto::BundleEndpointProfile {
    match profile {
        BundleEndpointProfile::HttpsSpiffe => proto::BundleEndpointProfile::HttpsSpiffe,
        BundleEndpointProfile::HttpsWeb => proto::BundleEndpointProfile::HttpsWeb,
    }
}

impl TryFrom<proto::TrustZone> for TrustZone {
    type Error = FieldError;
    fn try_from(message: proto::TrustZone) -> Result<Self, FieldError> {
        let convert = || {
            let draft = draft(&message)?;
            Ok(Self {
                id: required("id", message.id.as_deref())?,
                organization_id: required("org_id", message.org_id.as_deref())?,
                name: draft.name,
                trust_domain: draft.trust_domain,
                bundle: draft.bundle,
                bundle_endpoint: draft.bundle_endpoint,
                jwt_issuer: draft.jwt_issuer,
                is_management_zone: draft.is_management_zone,
                created_at: required_timestamp("created_at", message.created_at.as_ref())?,
                updated_at: required_timestamp("last_updated_at", message.last_updated_at.as_ref())?,
            })
        };
        convert().at("trust_zone")
    }
}

impl From<&TrustZone> for proto::TrustZone {
    fn from(zone: &TrustZone) -> Self {
        let endpoint = zone.bundle_endpoint.as_ref();
        Self {
            id: Some(zone.id.to_string()),
            org_id: Some(zone.organization_id.to_string()),
            name: zone.name.to_string(),
            trust_domain: zone.trust_domain.to_string(),
            bundle: zone.bundle.as_ref().map(Into::into),
            bundle_endpoint_url: endpoint.map(|endpoint| endpoint.url.clone()),
            bundle_endpoint_profile: endpoint.map(|endpoint| profile(endpoint.profile).into()),
            bundle_endpoint_spiffe_id: spiffe_id(endpoint),
            jwt_issuer: zone.jwt_issuer.clone(),
            is_management_zone: zone.is_management_zone,
            created_at: Some(timestamp(zone.created_at)),
            last_updated_at: Some(timestamp(zone.updated_at)),
        }
    }
}

also_owned!(TrustZone => proto::TrustZone);
