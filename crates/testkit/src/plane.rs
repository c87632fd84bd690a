//! The whole plane in one process: Connect, and for each trust zone a SPIFFE server and an agent.
//!
//! All of it is the product's own `run`, on ports and sockets of its own, in a folder that goes with the [`Plane`]. Only
//! the Envoys are missing; [`crate::envoy`] has them. A test that fails shows the state of all parts and the ends of their
//! logs.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cofide_api::connect::agent_service::agent_service_client::AgentServiceClient;
use cofide_api::connect::agent_service::{CreateAgentJoinTokenRequest, ListFederatedServicesRequest};
use cofide_api::connect::ap_binding_service::ap_binding_service_client::ApBindingServiceClient;
use cofide_api::connect::ap_binding_service::{
    CreateApBindingRequest, DestroyApBindingRequest, GetApBindingRequest, UpdateApBindingRequest,
};
use cofide_api::connect::attestation_policy_service::CreateAttestationPolicyRequest;
use cofide_api::connect::attestation_policy_service::attestation_policy_service_client::AttestationPolicyServiceClient;
use cofide_api::connect::audit_service::audit_service_client::AuditServiceClient;
use cofide_api::connect::audit_service::{ListEventsRequest, list_events_request};
use cofide_api::connect::cluster_service::cluster_service_client::ClusterServiceClient;
use cofide_api::connect::cluster_service::{CreateClusterRequest, DestroyClusterRequest};
use cofide_api::connect::explain_service::ExplainRequest;
use cofide_api::connect::explain_service::explain_service_client::ExplainServiceClient;
use cofide_api::connect::federation_service::federation_service_client::FederationServiceClient;
use cofide_api::connect::federation_service::{CreateFederationRequest, DestroyFederationRequest};
use cofide_api::connect::receipt_service::receipt_service_client::ReceiptServiceClient;
use cofide_api::connect::receipt_service::{
    self, ListFederationStatusesRequest, ListReceiptsRequest, federation_status, list_receipts_request,
};
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_api::connect::trust_zone_service::{CreateTrustZoneRequest, UpdateTrustZoneBundleRequest};
use cofide_api::types::{ap_binding, attestation_policy, audit, cluster, federated_service, federation, trust_zone};
use cofide_connect_client::{Bootstrap, Credential, UserChannel, connect_as_user};
use cofide_core::{ClusterId, Finding, JoinTokenSecret, Profile, Severity, TrustZoneId};
use tempfile::TempDir;

use crate::loopback::own_address;
use crate::running::{Running, log_tail, this_program};
use crate::spire::{Spire, SpireOptions};
pub use crate::zone::{Agent, Zone};

/// Connect with any number of trust zones.
pub struct Plane {
    folder: TempDir,
    address: SocketAddr,
    database: Option<String>,
    connect: Option<Running>,
    pub credential: Credential,
    pub zones: Vec<Zone>,
}

impl Plane {
    /// Starts Connect in an empty folder.
    pub async fn start() -> Result<Self> {
        Self::start_at((own_address(), 8443).into()).await
    }

    /// As [`Plane::start`], with Connect where others than this machine reach it too.
    pub async fn start_at(address: SocketAddr) -> Result<Self> {
        Self::start_with(address, None).await
    }

    /// As [`Plane::start`], with Connect on an empty PostgreSQL database.
    pub async fn start_on(database: &str) -> Result<Self> {
        Self::start_with((own_address(), 8443).into(), Some(database.to_owned())).await
    }

    async fn start_with(address: SocketAddr, database: Option<String>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plane").tempdir()?;
        let connect = start_connect(folder.path(), address, database.clone()).await?;
        let credential = Credential::read(&folder.path().join("connect/admin-credential.json"))?;
        Ok(Self { folder, address, database, connect: Some(connect), credential, zones: Vec::new() })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where Connect listens; kept over its restarts.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn stop_connect(&mut self) -> Result<()> {
        match self.connect.take() {
            Some(connect) => connect.stop().await,
            None => Ok(()),
        }
    }

    /// Ends Connect as `kill -9` would.
    pub async fn kill_connect(&mut self) -> Result<()> {
        match self.connect.take() {
            Some(connect) => connect.kill().await,
            None => Ok(()),
        }
    }

    pub async fn start_connect(&mut self) -> Result<()> {
        ensure!(self.connect.is_none(), "Connect runs");
        self.connect = Some(start_connect(self.folder.path(), self.address, self.database.clone()).await?);
        Ok(())
    }

    /// Everything that Connect has written so far, over all its starts.
    pub fn connect_log(&self) -> String {
        std::fs::read_to_string(connect_log(self.folder.path())).unwrap_or_default()
    }

    /// A channel with the administrator's token.
    pub async fn admin(&self) -> Result<UserChannel> {
        Ok(connect_as_user(&self.credential).await?)
    }

    /// Adds the trust zone `trust-zone-<letter>` with trust domain `<letter>.test` and cluster `cluster-<letter>`, without
    /// starting anything of it.
    pub async fn create_zone(&mut self, letter: &str) -> Result<usize> {
        self.create_zone_of(letter, &format!("{letter}.test"), Profile::Host).await
    }

    /// As [`Plane::create_zone`], with a trust domain and a profile of its own.
    pub async fn create_zone_of(&mut self, name: &str, trust_domain: &str, profile: Profile) -> Result<usize> {
        self.create_zone_at(name, trust_domain, profile, own_address(), None).await
    }

    async fn create_zone_at(
        &mut self,
        name: &str,
        trust_domain: &str,
        profile: Profile,
        ip: Ipv4Addr,
        bundle_endpoint_url: Option<String>,
    ) -> Result<usize> {
        let profile_of_endpoint = bundle_endpoint_url.as_ref().map(|_| trust_zone::BundleEndpointProfile::HttpsSpiffe.into());
        let zone = trust_zone::TrustZone {
            name: format!("trust-zone-{name}"),
            trust_domain: trust_domain.into(),
            bundle_endpoint_url,
            bundle_endpoint_profile: profile_of_endpoint,
            ..Default::default()
        };
        let request = CreateTrustZoneRequest { trust_zone: Some(zone) };
        let created = TrustZoneServiceClient::new(self.admin().await?).create_trust_zone(request).await?.into_inner();
        let id: TrustZoneId = created.trust_zone.and_then(|zone| zone.id).context("no id")?.parse()?;

        let cluster_id = self.create_cluster(format!("cluster-{name}"), &id, profile).await?;
        self.zones.push(Zone::new(name, trust_domain, ip, self.folder.path().join(name), id, cluster_id)?);
        Ok(self.zones.len() - 1)
    }

    async fn create_cluster(&self, name: String, trust_zone_id: &TrustZoneId, profile: Profile) -> Result<ClusterId> {
        let cluster = cluster::Cluster {
            name: Some(name),
            trust_zone_id: Some(trust_zone_id.to_string()),
            profile: Some(profile.to_string()),
            ..Default::default()
        };
        let request = CreateClusterRequest { cluster: Some(cluster) };
        let created = ClusterServiceClient::new(self.admin().await?).create_cluster(request).await?.into_inner();
        Ok(created.cluster.and_then(|cluster| cluster.id).context("no id")?.parse()?)
    }

    /// Adds the cluster `cluster-<name>` to a zone that is there, whose SPIFFE server it shares. It is a zone of its own to the
    /// plane; an agent of it needs an entry in that server ([`Zone::other_clusters`]).
    pub async fn create_cluster_beside(&mut self, zone: usize, name: &str, profile: Profile) -> Result<usize> {
        let of = &self.zones[zone];
        let (id, trust_domain, folder, agent_program) =
            (of.id.clone(), of.trust_domain.to_string(), of.folder.clone(), of.agent_program.clone());
        let cluster_id = self.create_cluster(format!("cluster-{name}"), &id, profile).await?;
        let mut beside = Zone::new(name, &trust_domain, own_address(), folder, id, cluster_id)?;
        beside.agent_program = agent_program;
        self.zones.push(beside);
        Ok(self.zones.len() - 1)
    }

    /// Deletes the cluster of a zone in Connect and adds it again under the same name, for a host.
    pub async fn make_cluster_anew(&mut self, zone: usize) -> Result<()> {
        let (id, name) = (self.zones[zone].id.clone(), self.zones[zone].cluster_name());
        let request = DestroyClusterRequest { cluster_id: Some(self.zones[zone].cluster_id.to_string()) };
        ClusterServiceClient::new(self.admin().await?).destroy_cluster(request).await?;
        self.zones[zone].cluster_id = self.create_cluster(name, &id, Profile::Host).await?;
        Ok(())
    }

    /// Adds a trust zone and starts its SPIFFE server and its agent.
    pub async fn add_zone(&mut self, letter: &str) -> Result<usize> {
        let index = self.create_zone(letter).await?;
        let token = self.join_token(index).await?;
        self.write_bootstrap(index, token)?;
        self.zones[index].start_trust_zone_server().await?;
        self.zones[index].start_agent().await?;
        Ok(index)
    }

    /// As [`Plane::create_zone`], for SPIRE as the SPIFFE server, which publishes its bundle.
    pub async fn create_spire_zone(&mut self, letter: &str) -> Result<usize> {
        let ip = own_address();
        let endpoint = Some(Spire::bundle_endpoint_url(ip));
        self.create_zone_at(letter, &format!("{letter}.test"), Profile::Host, ip, endpoint).await
    }

    /// As [`Plane::add_zone`], with SPIRE as the SPIFFE server.
    pub async fn add_spire_zone(&mut self, letter: &str, options: SpireOptions) -> Result<usize> {
        let index = self.create_spire_zone(letter).await?;
        self.start_spire_zone(index, options).await?;
        Ok(index)
    }

    /// Starts the SPIRE and the agent of a zone that was made by [`Plane::create_spire_zone`].
    pub async fn start_spire_zone(&mut self, index: usize, options: SpireOptions) -> Result<()> {
        let token = self.join_token(index).await?;
        self.write_bootstrap(index, token)?;
        self.zones[index].start_spire(options).await?;
        self.zones[index].start_agent().await
    }

    pub async fn join_token(&self, zone: usize) -> Result<JoinTokenSecret> {
        let zone = &self.zones[zone];
        let request =
            CreateAgentJoinTokenRequest { trust_zone_id: Some(zone.id.to_string()), cluster_id: Some(zone.cluster_id.to_string()) };
        let answer = AgentServiceClient::new(self.admin().await?).create_agent_join_token(request).await?.into_inner();
        Ok(JoinTokenSecret::new(answer.agent_token.context("no token")?))
    }

    /// What the agent of the zone needs to join with this token.
    pub fn bootstrap(&self, zone: usize, agent_token: JoinTokenSecret) -> Result<Bootstrap> {
        let zone = &self.zones[zone];
        Ok(Bootstrap {
            connect_url: self.address.to_string().parse()?,
            connect: self.credential.connect.clone().context("the credential has no bundle")?,
            trust_zone_id: zone.id.clone(),
            trust_domain: zone.trust_domain.clone(),
            cluster_id: zone.cluster_id.clone(),
            cluster_name: zone.cluster_name().parse()?,
            agent_token,
        })
    }

    pub fn write_bootstrap(&self, zone: usize, agent_token: JoinTokenSecret) -> Result<()> {
        Ok(self.bootstrap(zone, agent_token)?.write(&self.zones[zone].folder.join("bootstrap.yaml"))?)
    }

    /// One direction: `from` trusts `to`.
    pub async fn federate(&self, from: usize, to: usize) -> Result<String> {
        let federation = federation::Federation {
            trust_zone_id: Some(self.zones[from].id.to_string()),
            remote_trust_zone_id: Some(self.zones[to].id.to_string()),
            ..Default::default()
        };
        let request = CreateFederationRequest { federation: Some(federation) };
        let created = FederationServiceClient::new(self.admin().await?).create_federation(request).await?.into_inner();
        created.federation.and_then(|federation| federation.id).context("no id")
    }

    pub async fn federate_both_ways(&self, one: usize, other: usize) -> Result<()> {
        self.federate(one, other).await?;
        self.federate(other, one).await?;
        Ok(())
    }

    pub async fn unfederate(&self, federation_id: String) -> Result<()> {
        let request = DestroyFederationRequest { federation_id: Some(federation_id) };
        FederationServiceClient::new(self.admin().await?).destroy_federation(request).await?;
        Ok(())
    }

    /// What `cofidectl federation list` shows: from, to and state.
    pub async fn federation_states(&self) -> Result<BTreeSet<(String, String, federation_status::State)>> {
        let request = ListFederationStatusesRequest { filter: None };
        let answer = ReceiptServiceClient::new(self.admin().await?).list_federation_statuses(request).await?.into_inner();
        let name = |id: &str| self.zones.iter().find(|zone| zone.id.as_str() == id).map_or_else(|| id.to_owned(), |zone| zone.name.clone());
        let line = |status: federation_status::State, from: &str, to: &str| (name(from), name(to), status);
        Ok(answer.statuses.iter().map(|status| line(status.state(), &status.trust_zone_id, &status.remote_trust_zone_id)).collect())
    }

    /// Gives Connect the bundle that the zone's SPIFFE server has now, as `cofidectl trust-zone set-bundle` does.
    pub async fn set_bundle(&self, zone: usize) -> Result<()> {
        let zone = &self.zones[zone];
        let bundle = zone.spire().own_bundle().await?;
        let request = UpdateTrustZoneBundleRequest { bundle: Some((&bundle).into()), trust_zone_id: zone.id.to_string() };
        TrustZoneServiceClient::new(self.admin().await?).update_trust_zone_bundle(request).await?;
        Ok(())
    }

    /// All federated services that Connect knows.
    pub async fn services(&self) -> Result<Vec<federated_service::FederatedService>> {
        let request = ListFederatedServicesRequest::default();
        Ok(AgentServiceClient::new(self.admin().await?).list_federated_services(request).await?.into_inner().services)
    }

    /// What a zone's cluster said last about an import, and whether that is about the import as it is; the error is its reason.
    pub async fn receipt_of_import(&self, zone: usize, hostname: &str) -> Result<Option<(Result<(), String>, bool)>> {
        self.receipt(zone, cofide_api::convert::plan::IMPORTED_SERVICE, hostname).await
    }

    /// As [`Self::receipt_of_import`], of a resource of any type.
    pub async fn receipt(&self, zone: usize, type_url: &str, name: &str) -> Result<Option<(Result<(), String>, bool)>> {
        let filter = list_receipts_request::Filter { cluster_id: Some(self.zones[zone].cluster_id.to_string()), ..Default::default() };
        let request = ListReceiptsRequest { filter: Some(filter) };
        let receipts = ReceiptServiceClient::new(self.admin().await?).list_receipts(request).await?.into_inner().receipts;
        let is_about = |receipt: &&receipt_service::Receipt| receipt.type_url == type_url && receipt.resource_name == name;
        let said = |receipt: &receipt_service::Receipt| {
            let outcome = if receipt.applied { Ok(()) } else { Err(receipt.error_detail.clone()) };
            (outcome, receipt.current)
        };
        Ok(receipts.iter().find(is_about).map(said))
    }

    /// Why clients of a zone cannot use a service: what is said of each link that does not hold.
    pub async fn broken_links(&self, zone: usize, hostname: &str) -> Result<Vec<String>> {
        let trust_zone_id = self.zones[zone].id.to_string();
        let request = ExplainRequest { trust_zone_id, cluster_id: None, hostname: hostname.to_owned() };
        let findings = ExplainServiceClient::new(self.admin().await?).explain(request).await?.into_inner().findings;
        let findings = findings.into_iter().map(Finding::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(findings.into_iter().filter(|finding| finding.severity != Severity::Ok).map(|finding| finding.message).collect())
    }

    /// What the audit log holds of one kind, newest first.
    pub async fn events(&self, kind: audit::EventType) -> Result<Vec<audit::Event>> {
        self.audit(list_events_request::Filter { event_types: vec![kind.into()], ..Default::default() }).await
    }

    /// The calls that were refused to somebody, newest first.
    pub async fn denials(&self, actor: &str) -> Result<Vec<audit::Event>> {
        let outcomes = vec![audit::Outcome::Denied.into()];
        self.audit(list_events_request::Filter { outcomes, actors: vec![actor.to_owned()], ..Default::default() }).await
    }

    async fn audit(&self, filter: list_events_request::Filter) -> Result<Vec<audit::Event>> {
        let request = ListEventsRequest { filter: Some(filter), pagination: None };
        Ok(AuditServiceClient::new(self.admin().await?).list_events(request).await?.into_inner().events)
    }

    /// A static policy for this very process, bound in the zone. Gives the id of the binding.
    ///
    /// Everything in the plane is one process, so an identity is chosen by its SPIFFE ID, not by selectors.
    pub async fn bind(&self, zone: usize, path: &str, federates_with: &[usize]) -> Result<String> {
        self.bind_program(zone, path, &this_program()?, federates_with).await
    }

    /// As [`Plane::bind`], for processes with this executable.
    pub async fn bind_program(&self, zone: usize, path: &str, program: &Path, federates_with: &[usize]) -> Result<String> {
        let channel = self.admin().await?;
        let statically = attestation_policy::ApStatic {
            spiffe_id_path: Some(path.to_owned()),
            parent_id_path: Some(Spire::PARENT_ID_PATH.to_owned()),
            selectors: vec![cofide_api::spire::types::Selector { r#type: "unix".into(), value: format!("path:{}", program.display()) }],
            ..Default::default()
        };
        let policy = attestation_policy::AttestationPolicy {
            name: format!("{}{}", self.zones[zone].name, path.replace('/', "-")),
            policy: Some(attestation_policy::attestation_policy::Policy::Static(statically)),
            ..Default::default()
        };
        let request = CreateAttestationPolicyRequest { policy: Some(policy) };
        let created = AttestationPolicyServiceClient::new(channel.clone()).create_attestation_policy(request).await?.into_inner();
        let binding = ap_binding::ApBinding {
            trust_zone_id: Some(self.zones[zone].id.to_string()),
            policy_id: created.policy.and_then(|policy| policy.id),
            federations: self.binding_federations(federates_with),
            ..Default::default()
        };
        let request = CreateApBindingRequest { binding: Some(binding) };
        let created = ApBindingServiceClient::new(channel).create_ap_binding(request).await?.into_inner();
        created.binding.and_then(|binding| binding.id).context("no id")
    }

    pub async fn unbind(&self, binding_id: String) -> Result<()> {
        let request = DestroyApBindingRequest { binding_id: Some(binding_id) };
        ApBindingServiceClient::new(self.admin().await?).destroy_ap_binding(request).await?;
        Ok(())
    }

    /// Has a binding federate with these zones and no others, as `attestation-policy-binding update --federates-with` does.
    pub async fn update_binding(&self, binding_id: &str, federates_with: &[usize]) -> Result<()> {
        let mut bindings = ApBindingServiceClient::new(self.admin().await?);
        let request = GetApBindingRequest { binding_id: Some(binding_id.to_owned()) };
        let mut binding = bindings.get_ap_binding(request).await?.into_inner().binding.context("no binding")?;
        binding.federations = self.binding_federations(federates_with);
        bindings.update_ap_binding(UpdateApBindingRequest { binding: Some(binding) }).await?;
        Ok(())
    }

    pub fn binding_federations(&self, zones: &[usize]) -> Vec<ap_binding::ApBindingFederation> {
        let of = |zone: &usize| ap_binding::ApBindingFederation { trust_zone_id: Some(self.zones[*zone].id.to_string()) };
        zones.iter().map(of).collect()
    }
}

impl Plane {
    /// What helps to see why a test failed.
    pub fn dump(&self) -> String {
        let zones = self.zones.iter().map(Zone::dump);
        std::iter::once(log_tail(&connect_log(self.folder.path()))).chain(zones).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test harness shows it with the failure.
            eprintln!("{}", self.dump());
        }
    }
}

async fn start_connect(folder: &Path, listen_address: SocketAddr, sql_connection_string: Option<String>) -> Result<Running> {
    let data_dir = folder.join("connect");
    let config = cofide_connect::config::Config { data_dir, listen_address, sql_connection_string, ..Default::default() };
    let start = async |shutdown| {
        let bound = Box::pin(cofide_connect::run::run(config, shutdown)).await?;
        Ok(((), bound.stopped()))
    };
    let ((), running) = Running::start(&connect_log(folder), start).await?;
    Ok(running)
}

fn connect_log(folder: &Path) -> PathBuf {
    folder.join("connect.log")
}
