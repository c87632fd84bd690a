//! A service as one client cluster sees it.

use crate::{Gateway, GatewayKind, Hostname, Name, Port, SpiffeIdPath, TlsMode, TrustDomain};

/// What Connect tells an agent about one remote service: the clusters that export the same hostname are merged into
/// one import with the gateways of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedService {
    pub hostname: Hostname,
    /// The port that clients connect to, which is the server's.
    pub port: Port,
    pub tls_mode: TlsMode,
    /// The server's trust domain: the only one whose identities a client accepts here.
    pub trust_domain: TrustDomain,
    /// Sorted; empty where any ID of the trust domain will do.
    pub spiffe_id_paths: Vec<SpiffeIdPath>,
    /// Sorted, without duplicates.
    pub gateways: Vec<ImportedGateway>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportedGateway {
    pub gateway: Gateway,
    /// The name of the cluster behind the gateway.
    pub cluster_name: Name,
}

impl ImportedService {
    /// The gateways for a client that is not in an Istio mesh: ingress gateways, else whatever there is.
    pub fn gateways_for_envoy(&self) -> Vec<&Gateway> {
        self.prefer(GatewayKind::Ingress)
    }

    /// The gateways for a client in an Istio mesh: east-west gateways, else whatever there is.
    pub fn gateways_for_istio(&self) -> Vec<&Gateway> {
        self.prefer(GatewayKind::EastWest)
    }

    /// Of these, which a mesh can use and which it cannot, for Istio takes addresses of one kind for a service: where one gateway
    /// has an IP address, those with names are left out.
    pub fn usable_for_istio(&self) -> (Vec<&Gateway>, Vec<&Gateway>) {
        let (ips, names): (Vec<_>, Vec<_>) = self.gateways_for_istio().into_iter().partition(|gateway| gateway.address.ip().is_some());
        if ips.is_empty() { (names, ips) } else { (ips, names) }
    }

    /// Whether a mesh has to do with ingress gateways, for want of others.
    pub fn lacks_east_west_gateways(&self) -> bool {
        !self.gateways.is_empty() && self.gateways.iter().all(|imported| imported.gateway.kind == GatewayKind::Ingress)
    }

    fn prefer(&self, kind: GatewayKind) -> Vec<&Gateway> {
        let all = || self.gateways.iter().map(|imported| &imported.gateway);
        let preferred: Vec<_> = all().filter(|gateway| gateway.kind == kind).collect();
        if preferred.is_empty() { all().collect() } else { preferred }
    }

    /// The server name that its gateways expect in the TLS handshake.
    ///
    /// An Istio gateway in AUTO_PASSTHROUGH mode, which serves `IstioMtls`, finds its way by Istio's own form of the name,
    /// and looks for Istio's ALPN beside it ([`Self::application_protocols`]). Other gateways know both names.
    pub fn server_name(&self) -> String {
        match self.tls_mode {
            TlsMode::IstioMtls => self.hostname.istio_server_name(self.port),
            TlsMode::Mtls => self.hostname.to_string(),
        }
    }

    /// What a proxy that speaks TLS for its client offers as ALPN: `istio`, without which AUTO_PASSTHROUGH cuts it off; and
    /// nothing to an application that speaks TLS itself, which has protocols of its own.
    pub fn application_protocols(&self) -> &'static [&'static str] {
        match self.tls_mode {
            TlsMode::IstioMtls => &["istio"],
            TlsMode::Mtls => &[],
        }
    }

    /// The server's SPIFFE IDs in full; empty where any ID of the trust domain will do.
    pub fn server_spiffe_ids(&self) -> Vec<String> {
        self.spiffe_id_paths.iter().map(|path| path.in_trust_domain(&self.trust_domain)).collect()
    }
}
