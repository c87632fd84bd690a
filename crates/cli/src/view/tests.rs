use std::collections::BTreeMap;

use cofide_api::connect::receipt_service::{
    AgentStatus, BindingStatus, ClusterStatus, DirectionStatus, FederationStatus, FoundBundle, GetFederationStatusResponse, binding_status,
    federation_status::State,
};
use cofide_api::spire::types::{Bundle, X509Certificate};
use cofide_api::types::agent::{Agent, AgentStatus as Said};
use cofide_api::types::ap_binding::{ApBinding, ApBindingFederation};
use cofide_api::types::attestation_policy::{AttestationPolicy, attestation_policy::Policy};
use cofide_api::types::audit::{EntityLink, Event};
use cofide_api::types::cluster::Cluster;
use cofide_api::types::federated_service::{FederatedService, GatewayEntry, GatewaySpec};
use cofide_api::types::federation::Federation;
use cofide_api::types::trust_provider::TrustProvider;
use cofide_api::types::trust_zone::TrustZone;
use cofide_core::{Finding, KubernetesPolicy, PolicyKind, Selector, Severity, StaticPolicy, Timestamp, TpmNodePolicy};

use super::agent::{AgentView, AgentsView};
use super::attestation_policy::{PoliciesView, PolicyView};
use super::attestation_policy_binding::{BindingStatusView, BindingView, BindingsView};
use super::audit::{EventView, EventsView};
use super::cluster::{ClusterView, ClustersView};
use super::explain::ExplanationView;
use super::federated_service::{
    ConditionView, FederatedServiceDetail, FederatedServiceDetailsView, FederatedServiceView, FederatedServicesView,
};
use super::federation::{FederationView, FederationsView};
use super::federation_status::FederationStatusView;
use super::trust_zone::{TrustZoneView, TrustZonesView};
use crate::label_selector;
use crate::printer::{Format, Printer, View};
use crate::resolve::Directory;

fn shown(format: Format, view: &impl View) -> String {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    Printer { format, stdout: &mut stdout, stderr: &mut stderr }.show(view).unwrap();
    String::from_utf8(stdout).unwrap()
}

/// The table and the JSON of a view, one below the other.
fn both(view: &impl View) -> String {
    format!("{}\n{}", shown(Format::Table, view), shown(Format::Json, view))
}

fn moment(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(cofide_api::convert::timestamp(Timestamp(seconds * 1_000_000 + 123_456)))
}

fn zones() -> Vec<TrustZone> {
    let zone = |id: &str, name: &str, trust_domain: &str| TrustZone {
        id: Some(id.into()),
        name: name.into(),
        trust_domain: trust_domain.into(),
        created_at: moment(1_767_225_600),
        ..TrustZone::default()
    };
    let bundle = Bundle { sequence_number: 3, x509_authorities: vec![X509Certificate::default(); 2], ..Bundle::default() };
    let endpoint = Some("https://127.0.0.1:8443".to_owned());
    vec![
        TrustZone {
            bundle: Some(bundle),
            bundle_endpoint_url: endpoint,
            bundle_endpoint_profile: Some(1),
            ..zone("tz-1", "trust-zone-a", "a.test")
        },
        zone("tz-2", "trust-zone-b", "b.test"),
    ]
}

fn clusters() -> Vec<Cluster> {
    let cluster = |id: &str, name: &str, zone: &str, profile: &str| Cluster {
        id: Some(id.into()),
        name: Some(name.into()),
        trust_zone_id: Some(zone.into()),
        profile: Some(profile.into()),
        ..Cluster::default()
    };
    let values = prost_types::Struct {
        fields: BTreeMap::from([(
            "spire-server".to_owned(),
            prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("x".repeat(200))) },
        )]),
    };
    vec![
        cluster("cl-1", "one", "tz-1", "host"),
        Cluster {
            trust_provider: Some(TrustProvider { kind: Some("kubernetes".into()), ..TrustProvider::default() }),
            kubernetes_context: Some("kind-two".into()),
            oidc_issuer_url: Some("https://oidc.test".into()),
            extra_helm_values: Some(values),
            ..cluster("cl-2", "two", "tz-1", "istio")
        },
    ]
}

fn directory() -> Directory<TrustZone> {
    Directory::new(zones())
}

fn policies() -> Vec<AttestationPolicy> {
    let policy = |id: &str, name: &str, kind: PolicyKind| AttestationPolicy {
        id: Some(id.into()),
        name: name.into(),
        policy: Some(Policy::from(&kind)),
        ..AttestationPolicy::default()
    };
    vec![
        policy(
            "ap-1",
            "pods",
            PolicyKind::Kubernetes(KubernetesPolicy {
                namespace_selector: Some(label_selector::parse("kubernetes.io/metadata.name=demo").unwrap()),
                pod_selector: Some(label_selector::parse("app=server,tier in (a,b)").unwrap()),
                dns_name_templates: vec![],
                spiffe_id_path_template: None,
            }),
        ),
        policy(
            "ap-2",
            "server",
            PolicyKind::Static(StaticPolicy {
                spiffe_id_path: "/ns/demo/sa/server".into(),
                parent_id_path: "/spire/agent".into(),
                selectors: vec![
                    Selector { kind: "unix".into(), value: "uid:1000".into() },
                    Selector { kind: "unix".into(), value: "path:/usr/bin/server".into() },
                ],
                dns_names: vec!["server.test".into()],
                store_svid: false,
            }),
        ),
        policy("ap-3", "node", PolicyKind::TpmNode(TpmNodePolicy { ek_hash: Some("0".repeat(64)), selector_values: vec![] })),
    ]
}

#[test]
fn trust_zones() {
    let views: Vec<_> = zones().iter().map(|zone| TrustZoneView::new(zone, &clusters())).collect();
    insta::assert_snapshot!(format!("{}\n{}", shown(Format::Table, &views[0]), both(&TrustZonesView(views.clone()))));
}

#[test]
fn clusters_with_long_values() {
    let views: Vec<_> = clusters().iter().map(|cluster| ClusterView::new(cluster, &directory())).collect();
    insta::assert_snapshot!(format!("{}\n{}", shown(Format::Table, &views[1]), both(&ClustersView(views.clone()))));
}

#[test]
fn federations_with_status_and_reason() {
    let federation = |id: &str, from: &str, to: &str| Federation {
        id: Some(id.into()),
        trust_zone_id: Some(from.into()),
        remote_trust_zone_id: Some(to.into()),
        ..Federation::default()
    };
    let status = |id: &str, state: State, reason: &str| FederationStatus {
        federation_id: id.into(),
        state: state.into(),
        reason: reason.into(),
        observed_at: moment(1_767_225_600),
        since: moment(1_767_225_000),
        ..FederationStatus::default()
    };
    let statuses = [status("f-1", State::Healthy, ""), status("f-2", State::Unhealthy, "No bundle found")];
    let federations = [federation("f-1", "tz-1", "tz-2"), federation("f-2", "tz-2", "tz-1"), federation("f-3", "tz-1", "tz-gone")];
    let views = federations.iter().map(|federation| FederationView::new(federation, &statuses, &directory())).collect();
    let shown = both(&FederationsView(views));
    assert!(shown.contains(" Unhealthy | No bundle found"), "scripts look for this text: {shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn agents_that_are_there_that_are_gone_and_that_never_came() {
    let agent = |id: &str, cluster: &str, zone: &str| {
        Some(Agent { id: Some(id.into()), cluster_id: Some(cluster.into()), trust_zone_id: Some(zone.into()), ..Agent::default() })
    };
    let said = |code, message: &str| {
        Some(Said { status: Some(code), status_message: Some(message.into()), last_updated: Some(1), ..Said::default() })
    };
    let statuses = [
        AgentStatus {
            agent: agent("ag-1", "cl-1", "tz-1"),
            spiffe_id: "spiffe://a.test/cluster/cluster-a/ns/cofide/sa/cofide-agent".into(),
            connected: true,
            last_seen_at: moment(1_767_225_600),
            reported: said(1, "2 exported, 1 imported"),
            applied_revision: Some(42),
            outstanding: 0,
            rejected: 0,
        },
        AgentStatus {
            agent: agent("ag-2", "cl-2", "tz-2"),
            spiffe_id: "spiffe://b.test/ns/cofide/sa/cofide-agent".into(),
            last_seen_at: moment(1_767_225_600 - 7 * 60),
            reported: said(2, ""),
            outstanding: 3,
            rejected: 1,
            ..AgentStatus::default()
        },
        AgentStatus { agent: agent("ag-3", "cl-gone", "tz-2"), outstanding: 1, ..AgentStatus::default() },
    ];
    let now = Timestamp::from_seconds(1_767_225_601);
    let (zones, clusters) = (directory(), Directory::new(clusters()));
    let views = statuses.iter().map(|status| AgentView::new(status, &zones, &clusters, now)).collect();
    insta::assert_snapshot!(both(&AgentsView(views)));
}

#[test]
fn an_explanation_names_each_link_and_the_remedy_of_the_broken_one() {
    let finding = |check: &str, severity, message: &str, remedy: Option<&str>| Finding {
        check: check.into(),
        severity,
        message: message.into(),
        remedy: remedy.map(str::to_owned),
    };
    let findings = [
        finding("registered service", Severity::Ok, "server.demo.a.test is registered by cluster one", None),
        finding(
            "federation b -> a",
            Severity::Broken,
            "trust zone b does not trust a; it must, so that clients admit the server",
            Some("cofidectl federation add --trust-zone b --remote-trust-zone a"),
        ),
        finding("gateways", Severity::Waiting, "no gateway is known by which clients could enter", None),
    ];
    insta::assert_snapshot!(both(&ExplanationView::new(&findings)));
}

#[test]
fn policies_have_a_table_for_each_kind() {
    let views: Vec<_> = policies().iter().map(|policy| PolicyView::new(policy).unwrap()).collect();
    insta::assert_snapshot!(format!("{}\n{}", shown(Format::Table, &views[1]), both(&PoliciesView(views.clone()))));
    let of_one_kind = shown(Format::Table, &PoliciesView(views[1..2].to_vec()));
    assert!(of_one_kind.starts_with("Static attestation policies\n\n") && !of_one_kind.contains("Kubernetes"), "{of_one_kind}");
}

#[test]
fn bindings() {
    let partner = |zone: &str| ApBindingFederation { trust_zone_id: Some(zone.into()) };
    let binding = |id: &str, federations| ApBinding {
        id: Some(id.into()),
        trust_zone_id: Some("tz-1".into()),
        policy_id: Some("ap-2".into()),
        federations,
        ..ApBinding::default()
    };
    let bindings = [binding("apb-1", vec![partner("tz-2"), partner("tz-gone")]), binding("apb-2", vec![])];
    let policies = Directory::new(policies());
    let by_pattern = ApBinding { federates_with_patterns: vec!["trust-*".into(), "*-c".into()], ..binding("apb-3", vec![partner("tz-2")]) };
    let hoping = ApBinding { federates_with_patterns: vec!["none-*".into()], ..binding("apb-4", vec![]) };
    let bindings: Vec<_> = bindings.into_iter().chain([by_pattern, hoping]).collect();
    let partner = |zone: &str, state: State, reason: &str| binding_status::Partner {
        trust_zone_id: zone.into(),
        state: state.into(),
        reason: reason.into(),
        since: moment(1_767_225_600),
    };
    let waiting = partner("tz-gone", State::Waiting, "trust zone c has not delivered its bundle yet");
    let statuses = [
        BindingStatus { binding_id: "apb-1".into(), partners: vec![partner("tz-2", State::Healthy, ""), waiting], left_out: 0 },
        BindingStatus { binding_id: "apb-3".into(), partners: vec![partner("tz-2", State::Healthy, "")], left_out: 2 },
    ];
    let now = Timestamp::from_seconds(1_767_225_600 + 180);
    let view = |binding| BindingStatusView::new(BindingView::new(binding, &directory(), &policies), &statuses, &directory(), now);
    let views: Vec<_> = bindings.iter().map(view).collect();
    insta::assert_snapshot!(format!("{}\n{}", shown(Format::Table, &views[0]), both(&BindingsView(views.clone()))));
}

#[test]
fn both_directions_of_a_federation_in_detail() {
    let found = |digit: &str, sequence_number| FoundBundle { digest: digit.repeat(64), sequence_number };
    let cluster = |id: &str, state: State, reason: &str, held| ClusterStatus {
        cluster_id: id.into(),
        state: state.into(),
        reason: reason.into(),
        held,
        since: moment(1_767_225_600),
        read_at: moment(1_767_225_600 + 170),
    };
    let federation = FederationStatus {
        state: State::Unhealthy.into(),
        reason: "Bundles do not match".into(),
        observed_at: moment(1_767_225_600 + 170),
        since: moment(1_767_225_600 + 60),
        ..FederationStatus::default()
    };
    let silent = ClusterStatus { cluster_id: "cl-2".into(), state: State::Unknown.into(), ..ClusterStatus::default() };
    let clusters = vec![
        cluster("cl-1", State::Unhealthy, "Bundles do not match", Some(found("a", 3))),
        ClusterStatus { reason: "the agent of cluster cluster-b has not reported yet".into(), ..silent },
    ];
    let answer = GetFederationStatusResponse {
        direction: Some(DirectionStatus {
            trust_zone_id: "tz-1".into(),
            remote_trust_zone_id: "tz-2".into(),
            federation: Some(federation),
            delivered: Some(found("b", 4)),
            delivered_at: moment(1_767_225_600 + 60),
            clusters,
        }),
        reverse: Some(DirectionStatus { trust_zone_id: "tz-2".into(), remote_trust_zone_id: "tz-1".into(), ..DirectionStatus::default() }),
    };
    let now = Timestamp::from_seconds(1_767_225_600 + 180);
    insta::assert_snapshot!(both(&FederationStatusView::new(&answer, &directory(), &Directory::new(self::clusters()), now)));
}

#[test]
fn federated_services() {
    let service = FederatedService {
        id: "fs-1".into(),
        name: "server".into(),
        namespace: "demo".into(),
        cluster_name: "one".into(),
        trust_domain: "a.test".into(),
        workload_labels: BTreeMap::from([("app".into(), "server".into())]),
        exported_trust_domains: vec!["b.test".into(), "c.test".into()],
        port: 8443,
        gateway_entries: vec![GatewayEntry { hostname: String::new(), r#type: "istio-ingressgateway".into(), ip: "::1".into(), port: 443 }],
        tls_mode: 1,
        ..FederatedService::default()
    };
    let manual = GatewaySpec { hostname: "gw.test".into(), r#type: "istio-eastwestgateway".into(), ip: String::new(), port: 15443 };
    let other = FederatedService {
        id: "fs-2".into(),
        trust_domain: "not_dns.test".into(),
        gateway_specs: vec![manual],
        spiffe_id_paths: vec!["/ns/demo/sa/server".into()],
        tls_mode: 2,
        ..service.clone()
    };
    let views = vec![FederatedServiceView::new(&service), FederatedServiceView::new(&other)];
    let finding = |severity| Finding { check: "federation".into(), severity, message: "b does not trust a".into(), remedy: None };
    let remark = Finding { message: "the mesh does without gw.test".into(), remedy: Some("one kind".into()), ..finding(Severity::Ok) };
    assert_eq!(ConditionView::ready("b.test", &[remark]).message, "every link to it holds; the mesh does without gw.test");
    let ready = [ConditionView::ready("b.test", &[finding(Severity::Ok)]), ConditionView::ready("c.test", &[finding(Severity::Broken)])];
    let details = vec![FederatedServiceDetail::new(views[0].clone(), ready), FederatedServiceDetail::new(views[1].clone(), [])];
    insta::assert_snapshot!(format!("{}\n{}", both(&FederatedServicesView(views)), both(&FederatedServiceDetailsView(details))));
}

#[test]
fn audit_events() {
    let events = [
        Event {
            id: "ae-1".into(),
            occurred_at: moment(1_767_225_600),
            r#type: 26,
            message: "trust zone a created".into(),
            links: vec![EntityLink { r#type: 11, id: "tz-1".into() }],
            data: br#"{"name":"a"}"#.to_vec(),
            actor: "admin".into(),
            source_ip: "127.0.0.1".into(),
            outcome: 1,
            server_version: "0.1.0".into(),
        },
        Event { id: "ae-2".into(), data: b"no json".to_vec(), actor: "system".into(), outcome: 2, ..Event::default() },
    ];
    let view = EventsView { events: events.iter().map(EventView::new).collect(), next_page_token: "next".into() };
    insta::assert_snapshot!(both(&view));
}

#[test]
fn manual_gateways_take_the_place_of_the_discovered_ones_even_where_none_of_them_can_be_read() {
    let entry = |ip: &str| GatewayEntry { r#type: "istio-ingressgateway".into(), ip: ip.into(), port: 15443, ..Default::default() };
    let spec = |ip: &str| GatewaySpec { r#type: "istio-ingressgateway".into(), ip: ip.into(), port: 15443, ..Default::default() };
    let shown = |gateway_specs: Vec<GatewaySpec>| {
        let service = FederatedService { gateway_entries: vec![entry("192.0.2.1")], gateway_specs, ..Default::default() };
        let view = FederatedServiceView::new(&service);
        (view.gateway_source, view.gateways.into_iter().map(|gateway| gateway.address).collect::<Vec<_>>())
    };
    assert_eq!(shown(vec![]), ("discovered", vec!["192.0.2.1".to_owned()]));
    assert_eq!(shown(vec![spec("192.0.2.2")]), ("manual", vec!["192.0.2.2".to_owned()]));
    assert_eq!(shown(vec![spec("not an address")]), ("manual", vec![]), "clients would not use the discovered ones either");
}
