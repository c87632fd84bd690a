//! The reasons of conditions: words for programs, in CamelCase as Kubernetes has them.
//!
//! A reason, once released, keeps its meaning. Each is explained to people in `docs/agent-host.md` or `docs/kubernetes/agent.md`.

/// Defines the constants, and [`ALL`] of them for whoever checks that each is documented.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Every reason there is.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

reasons! {
    /// The manifest is valid and in force.
    VALID = "Valid";
    /// The manifest was never valid.
    INVALID = "Invalid";
    /// The manifest is not valid; its last valid version is in force.
    INVALID_KEPT_LAST_VALID = "InvalidKeptLastValid";
    /// An older service has the hostname.
    CONFLICT = "Conflict";

    /// A gateway Envoy takes its configuration from this agent.
    GATEWAY_CONNECTED = "GatewayConnected";
    /// `spec.gateways` is used as it stands.
    MANUAL_GATEWAYS = "ManualGateways";
    /// No gateway Envoy takes its configuration from this agent.
    GATEWAY_NOT_CONNECTED = "GatewayNotConnected";
    /// The gateway keeps what it has until everything that is in force is known again.
    GATEWAY_WAITS = "GatewayWaits";
    /// Gateways of the cluster were found, and have addresses.
    GATEWAYS_DISCOVERED = "GatewaysDiscovered";
    /// Objects that the mesh needs to let remote clients in could not be written.
    MESH_NOT_CONFIGURED = "MeshNotConfigured";
    /// A setting of the mesh keeps its sidecars from admitting those to whom the service is exported.
    MESH_MISCONFIGURED = "MeshMisconfigured";
    /// No address is known at which remote clients could enter.
    NO_GATEWAY = "NoGateway";

    /// At least one workload can serve the service.
    WORKLOADS_FOUND = "WorkloadsFound";
    /// No WorkloadEntry carries the labels.
    NO_WORKLOAD = "NoWorkload";
    /// WorkloadEntries carry the labels, and none has a port for the service.
    NO_USABLE_PORT = "NoUsablePort";
    /// At least one endpoint of the Kubernetes Service is ready.
    ENDPOINTS_READY = "EndpointsReady";
    /// No Kubernetes Service selects pods by the labels.
    NO_SERVICE = "NoService";
    /// Several Kubernetes Services match and lead to different ports.
    AMBIGUOUS_SERVICE = "AmbiguousService";
    /// The Kubernetes Service leads out of the cluster.
    EXTERNAL_NAME = "ExternalName";
    /// The Kubernetes Service has no such port.
    NO_SERVICE_PORT = "NoServicePort";
    /// The port of the Kubernetes Service is not for TCP.
    PORT_NOT_TCP = "PortNotTCP";
    /// The Kubernetes Service has no endpoint.
    NO_ENDPOINT = "NoEndpoint";
    /// The Kubernetes Service has endpoints, and none is ready.
    NO_READY_ENDPOINT = "NoReadyEndpoint";

    /// Connect knows the service in its present form.
    REGISTERED = "Registered";
    /// Connect knows an earlier form and does not answer at the moment.
    OUTDATED = "Outdated";
    /// Connect refused the service.
    REFUSED = "Refused";
    /// Connect answered, and takes nothing from this agent.
    AGENT_REFUSED = "AgentRefused";
    /// Connect was not reached since the agent started.
    CONNECT_UNREACHABLE = "ConnectUnreachable";
    /// Connect is told when a gateway and a backend are ready.
    NOT_ANNOUNCED = "NotAnnounced";
    /// Connect was not told yet.
    PENDING = "Pending";

    /// Each exported trust domain can import the service.
    EXPORTED = "Exported";
    /// A federation without which an exported trust domain cannot import the service is missing.
    FEDERATION_MISSING = "FederationMissing";
    /// No trust zone has an exported trust domain.
    UNKNOWN_TRUST_DOMAIN = "UnknownTrustDomain";
    /// Connect has not answered about the exported trust domains.
    AWAITING_CONNECT = "AwaitingConnect";

    /// Nothing is done for a service that is not accepted.
    NOT_ACCEPTED = "NotAccepted";
}
