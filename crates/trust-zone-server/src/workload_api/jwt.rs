//! Answers of the JWT-SVID profile.

use std::time::SystemTime;

use cofide_api::workload as api;
use cofide_core::{Bundle, SpiffeId};
use cofide_svid::{bundle, jwt};
use prost_types::value::Kind;
use tonic::Status;

use super::no_identity_issued;
use crate::attestation::Peer;
use crate::workload::{WorkloadUpdate, Workloads};

/// Claims of a foreign trust domain's token that are passed on. Others could mean something to the caller that the
/// foreign domain had no say in.
const FOREIGN_CLAIMS: [&str; 3] = ["sub", "exp", "aud"];

pub(super) async fn svids(workloads: &Workloads, peer: &Peer, request: &api::JwtsvidRequest) -> Result<api::JwtsvidResponse, Status> {
    if request.audience.is_empty() || request.audience.iter().any(String::is_empty) {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    let wanted = match request.spiffe_id.as_str() {
        "" => None,
        id => Some(SpiffeId::new(id).map_err(|error| Status::invalid_argument(format!("invalid requested SPIFFE ID: {error}")))?),
    };
    let entries = workloads.entries(peer).await?;
    let now = SystemTime::now();
    let mut svids = Vec::new();
    for entry in entries.iter().filter(|entry| wanted.as_ref().is_none_or(|wanted| entry.spiffe_id == *wanted)) {
        let svid = workloads
            .issuer()
            .jwt_svid(entry, &request.audience, now)
            .map_err(|error| Status::unavailable(format!("could not fetch JWT-SVID: {error}")))?;
        svids.push(api::Jwtsvid { spiffe_id: svid.spiffe_id.to_string(), svid: svid.token, hint: entry.hint.clone() });
    }
    if svids.is_empty() {
        return Err(no_identity_issued(peer, "FetchJWTSVID"));
    }
    Ok(api::JwtsvidResponse { svids })
}

pub(super) fn bundles(update: &WorkloadUpdate) -> api::JwtBundlesResponse {
    let bundles = update.federated_bundles.values().chain([&update.bundle]);
    api::JwtBundlesResponse { bundles: bundles.map(|bundle| (bundle.trust_domain.id_string(), jwks(bundle))).collect() }
}

/// A plain JWK set with the JWT keys alone (SPIFFE Workload API, section 6.2.2).
fn jwks(held: &Bundle) -> Vec<u8> {
    let keys = Bundle { jwt_authorities: held.jwt_authorities.clone(), ..Bundle::empty(held.trust_domain.clone()) };
    bundle::to_jwks(&keys).into_bytes()
}

pub(super) async fn validate(
    workloads: &Workloads,
    peer: &Peer,
    request: &api::ValidateJwtsvidRequest,
) -> Result<api::ValidateJwtsvidResponse, Status> {
    if request.audience.is_empty() {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    if request.svid.is_empty() {
        return Err(Status::invalid_argument("svid must be specified"));
    }
    let bundles = workloads.bundles(peer).await?;
    let mut claims = jwt::verify(&request.svid, &request.audience, &bundles, SystemTime::now())
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    if claims.spiffe_id.trust_domain() != &workloads.trust_domain() {
        claims.all.retain(|name, _| FOREIGN_CLAIMS.contains(&name.as_str()));
    }
    // One audience may be written without a list (RFC 7519, section 4.1.3); callers find a list always.
    claims.all.insert("aud".into(), claims.audience.clone().into());
    Ok(api::ValidateJwtsvidResponse { spiffe_id: claims.spiffe_id.to_string(), claims: Some(object(claims.all)) })
}

fn object(map: serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    prost_types::Struct { fields: map.into_iter().map(|(name, value)| (name, prost_types::Value { kind: Some(kind(value)) })).collect() }
}

fn kind(value: serde_json::Value) -> Kind {
    use serde_json::Value;
    match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        // A JSON number is a double in protobuf's JSON types; whatever serde_json holds has that form.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            let values = values.into_iter().map(|value| prost_types::Value { kind: Some(kind(value)) }).collect();
            Kind::ListValue(prost_types::ListValue { values })
        }
        Value::Object(map) => Kind::StructValue(object(map)),
    }
}
