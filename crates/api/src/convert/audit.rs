//! `proto.audit.v1alpha1`

use cofide_core::{AuditEvent, EntityKind, EventKind, Outcome};

use super::{also_owned, timestamp};
use crate::types::audit as proto;

/// Both ways between an enum of ours and one of the wire, from one list. The wire knows more than we do, which is why
/// that way is optional.
macro_rules! pairs {
    ($core:ident, $wire:ident, [$($variant:ident),* $(,)?]) => {
        impl From<$core> for proto::$wire {
            fn from(value: $core) -> Self {
                #[allow(unreachable_patterns)]
                match value {
                    $($core::$variant => Self::$variant,)*
                    _ => Self::Unspecified,
                }
            }
        }

        impl proto::$wire {
            /// `None` for what this system never records.
            pub fn known(self) -> Option<$core> {
                match self {
                    $(Self::$variant => Some($core::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pairs!(
    EventKind,
    EventType,
    [
        AttestationPolicyCreation,
        AttestationPolicyUpdate,
        AttestationPolicyDeletion,
        AttestationPolicyBindingCreation,
        AttestationPolicyBindingUpdate,
        AttestationPolicyBindingDeletion,
        ClusterCreation,
        ClusterUpdate,
        ClusterDeletion,
        CofideAgentRegistration,
        FederatedServiceRegistration,
        FederatedServiceUpdate,
        FederatedServiceDeregistration,
        FederationCreation,
        FederationDeletion,
        TrustZoneCreation,
        TrustZoneUpdate,
        TrustZoneDeletion,
    ]
);
pairs!(
    EntityKind,
    EntityType,
    [AttestationPolicy, AttestationPolicyBinding, Cluster, CofideAgent, FederatedService, Federation, Organization, TrustZone,]
);
pairs!(Outcome, Outcome, [Success, Denied]);

impl From<&AuditEvent> for proto::Event {
    fn from(event: &AuditEvent) -> Self {
        let link = |(kind, id): &(EntityKind, String)| proto::EntityLink { r#type: proto::EntityType::from(*kind).into(), id: id.clone() };
        Self {
            id: event.id.to_string(),
            occurred_at: Some(timestamp(event.occurred_at)),
            r#type: proto::EventType::from(event.kind).into(),
            message: event.message.clone(),
            links: event.links.iter().map(link).collect(),
            data: event.data.clone().into_bytes(),
            actor: event.actor.clone(),
            source_ip: event.source_ip.clone(),
            outcome: proto::Outcome::from(event.outcome).into(),
            server_version: event.server_version.clone(),
        }
    }
}

also_owned!(AuditEvent => proto::Event);
