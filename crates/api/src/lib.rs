//! The gRPC API, the plan resources and the SPIFFE and SPIRE interfaces, with fallible conversions to the nouns.
//!
//! ```text
//!  proto/proto/connect/*   Connect's services            connect::<service>
//!  proto/proto/*           their messages                types::<noun>
//!  proto/cofide/plan       what Connect tells an agent   plan
//!  proto/spire             SPIRE's server APIs           spire::{types, server::*}
//!  proto/workload.proto    the SPIFFE Workload API       workload
//!                                   │
//!                                   ▼
//!                    convert::<noun>: messages to and from cofide_core
//! ```
//!
//! Field numbers and names are those of the systems that speak these interfaces; clients of theirs work unchanged.
//! Messages are only a form of transport: whoever receives one converts it once, at the edge, and an error names the
//! path of the field that is wrong.

pub mod convert;
mod redact;

/// Generated from `proto/`; reached through the modules below.
#[allow(clippy::all, clippy::pedantic, clippy::needless_pass_by_value, unreachable_pub, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

/// The services of Connect: packages `proto.connect.<service>.v1alpha1`.
pub mod connect {
    pub use crate::generated::proto::connect::agent_service::v1alpha1 as agent_service;
    pub use crate::generated::proto::connect::ap_binding_service::v1alpha1 as ap_binding_service;
    pub use crate::generated::proto::connect::attestation_policy_service::v1alpha1 as attestation_policy_service;
    pub use crate::generated::proto::connect::audit_service::v1alpha1 as audit_service;
    pub use crate::generated::proto::connect::bundle_package_service::v1alpha1 as bundle_package_service;
    pub use crate::generated::proto::connect::cluster_service::v1alpha1 as cluster_service;
    pub use crate::generated::proto::connect::datastore_service::v1alpha1 as datastore_service;
    pub use crate::generated::proto::connect::exchange_policy_service::v1alpha1 as exchange_policy_service;
    pub use crate::generated::proto::connect::explain_service::v1alpha1 as explain_service;
    pub use crate::generated::proto::connect::federation_service::v1alpha1 as federation_service;
    pub use crate::generated::proto::connect::identity_service::v1alpha1 as identity_service;
    pub use crate::generated::proto::connect::organization_service::v1alpha1 as organization_service;
    pub use crate::generated::proto::connect::receipt_service::v1alpha1 as receipt_service;
    pub use crate::generated::proto::connect::role_binding_service::v1alpha1 as role_binding_service;
    pub use crate::generated::proto::connect::trust_zone_server_service::v1alpha1 as trust_zone_server_service;
    pub use crate::generated::proto::connect::trust_zone_service::v1alpha1 as trust_zone_service;
    pub use crate::generated::proto::connect::workload_service::v1alpha1 as workload_service;
}

/// The messages that services share: packages `proto.<noun>.v1alpha1`.
pub mod types {
    pub use crate::generated::proto::agent::v1alpha1 as agent;
    pub use crate::generated::proto::ap_binding::v1alpha1 as ap_binding;
    pub use crate::generated::proto::attestation_policy::v1alpha1 as attestation_policy;
    pub use crate::generated::proto::audit::v1alpha1 as audit;
    pub use crate::generated::proto::cluster::v1alpha1 as cluster;
    pub use crate::generated::proto::config::v1alpha1 as config;
    pub use crate::generated::proto::exchange_policy::v1alpha1 as exchange_policy;
    pub use crate::generated::proto::federated_service::v1alpha1 as federated_service;
    pub use crate::generated::proto::federation::v1alpha1 as federation;
    pub use crate::generated::proto::identity::v1alpha1 as identity;
    pub use crate::generated::proto::organization::v1alpha1 as organization;
    pub use crate::generated::proto::pagination::v1alpha1 as pagination;
    pub use crate::generated::proto::plugins::v1alpha1 as plugins;
    pub use crate::generated::proto::role_binding::v1alpha1 as role_binding;
    pub use crate::generated::proto::trust_provider::v1alpha1 as trust_provider;
    pub use crate::generated::proto::trust_zone::v1alpha1 as trust_zone;
    pub use crate::generated::proto::trust_zone_server::v1alpha1 as trust_zone_server;
    pub use crate::generated::proto::workload::v1alpha1 as workload;
}

/// What Connect tells an agent: package `cofide.plan.v1alpha1`.
pub use generated::cofide::plan::v1alpha1 as plan;

/// The part of SPIRE's server APIs with which a trust zone's server is driven.
pub mod spire {
    /// Package `spire.api.types`.
    pub use crate::generated::spire::api::types;

    /// Packages `spire.api.server.<service>.v1`.
    pub mod server {
        pub use crate::generated::spire::api::server::bundle::v1 as bundle;
        pub use crate::generated::spire::api::server::entry::v1 as entry;
        pub use crate::generated::spire::api::server::localauthority::v1 as localauthority;
        pub use crate::generated::spire::api::server::trustdomain::v1 as trustdomain;
    }
}

/// The SPIFFE Workload API; its service has no package, so the method paths are `/SpiffeWorkloadAPI/...`.
#[allow(clippy::all, clippy::pedantic, clippy::needless_pass_by_value, unreachable_pub, rustdoc::all)]
pub mod workload {
    include!(concat!(env!("OUT_DIR"), "/workload/_.rs"));
}

/// Descriptors of everything in `proto/`, encoded as a `google.protobuf.FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
