//! Decisions and conditions, from views that are written down.

use super::conditions::{Condition, Surroundings, conditions};
use super::*;
use crate::own_cluster::testing::own_cluster;
use crate::view::Kind;
use cofide_core::{ConditionKind, Direction, ExportRefusal, GatewayAddress, GatewayKind, ServiceName, TlsMode, TrustDomain};
use cofide_k8s_api::{ConditionStatus as Status, Workload};
use cofide_test_objects::port;

fn cluster() -> OwnCluster {
    own_cluster("a.test")
}

fn gateway() -> Gateway {
    Gateway { kind: GatewayKind::Ingress, address: GatewayAddress::Ip("127.0.1.1".parse().unwrap()), port: port(15443) }
}

fn spec(name: &str) -> ServiceSpec {
    let name = ServiceName { name: name.parse().unwrap(), namespace: "demo".parse().unwrap() };
    ServiceSpec {
        hostname: name.hostname(&cluster().trust_domain).unwrap(),
        name,
        exported_trust_domains: [TrustDomain::new("b.test").unwrap()].into(),
        workload_labels: BTreeMap::from([("app".to_owned(), "server".to_owned())]),
        port: port(8443),
        tls_mode: TlsMode::Mtls,
        spiffe_id_paths: vec![],
        gateways: vec![],
    }
}

fn object(name: &str, age: u64, spec: Option<ServiceSpec>) -> ServiceObject {
    let key = ObjectKey { kind: Kind::FederatedService, namespace: "demo".to_owned(), name: name.to_owned() };
    ServiceObject { key, origin: Origin::File(format!("{name}.yaml").into()), age, generation: 1, spec, problems: vec![], backing: None }
}

fn workload(name: &str, namespace: &str, labels: &[(&str, &str)]) -> Workload {
    Workload {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        address: GatewayAddress::Ip("127.0.0.9".parse().unwrap()),
        ports: BTreeMap::new(),
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

fn view(services: Vec<ServiceObject>) -> ClusterView {
    let workloads = vec![workload("server", "demo", &[("app", "server"), ("version", "1")])];
    ClusterView { services, workloads, ..ClusterView::default() }
}

fn exports(view: &ClusterView) -> Vec<Export> {
    export(&cluster(), &[gateway()], view)
}

fn of(conditions: &[Condition], kind: ConditionKind) -> (Status, &'static str) {
    let found = conditions.iter().find(|condition| condition.kind == kind).unwrap();
    (found.status, found.reason)
}

fn target(trust_domain: &str, refusal: Option<ExportRefusal>) -> ExportTarget {
    ExportTarget { trust_domain: TrustDomain::new(trust_domain).unwrap(), refusal }
}

const REGISTERED: ServiceRegistration = ServiceRegistration::Registered;

fn all_is_well(targets: &[ExportTarget]) -> Surroundings<'_> {
    Surroundings { registration: Some(&REGISTERED), targets: Some(targets), gateway_connected: true, ..Surroundings::default() }
}

#[test]
fn a_service_is_offered_under_its_hostname_to_the_listed_domains_and_no_others() {
    let exports = exports(&view(vec![object("ping-pong", 1, Some(spec("server")))]));
    let route = exports[0].offer().unwrap().route(None);
    assert_eq!(route.hostname.as_str(), "server.demo.a.test");
    assert_eq!(route.admitted, [TrustDomain::new("b.test").unwrap()].into());
    assert_eq!(route.backends.len(), 1);
    let service = &exports[0].offer().unwrap().service;
    assert_eq!(service.gateway_entries, [gateway()]);
    assert_eq!(service.id, cluster().service_id(&spec("server").name));
}

#[test]
fn a_trust_domain_is_not_admitted_once_connect_says_that_it_cannot_import() {
    let domains = |names: &[&str]| names.iter().map(|name| TrustDomain::new(name).unwrap()).collect::<BTreeSet<_>>();
    let ended = Some(ExportRefusal::FederationMissing(vec![]));
    let unknown = Some(ExportRefusal::UnknownTrustDomain);
    let cases: [(Option<Vec<ExportTarget>>, &[&str]); 5] = [
        (None, &["b.test", "c.test"]),                               // no plan
        (Some(vec![target("b.test", None)]), &["b.test", "c.test"]), // an answer to an earlier list
        (Some(vec![target("b.test", None), target("c.test", ended.clone())]), &["b.test"]),
        (Some(vec![target("b.test", unknown), target("c.test", ended)]), &[]),
        // An answer to an earlier list brings nobody in.
        (Some(vec![target("b.test", None), target("c.test", None), target("d.test", None)]), &["b.test", "c.test"]),
    ];
    for mode in [TlsMode::Mtls, TlsMode::IstioMtls] {
        let spec = ServiceSpec { exported_trust_domains: domains(&["b.test", "c.test"]), tls_mode: mode, ..spec("server") };
        let exports = exports(&view(vec![object("ping-pong", 1, Some(spec))]));
        let offer = exports[0].offer().unwrap();
        for (targets, admitted) in &cases {
            assert_eq!(offer.route(targets.as_deref()).admitted, domains(admitted), "{targets:?}");
        }
    }
}

#[test]
fn only_workloads_of_the_namespace_with_all_labels_stand_behind_a_service() {
    let mut view = view(vec![object("ping-pong", 1, Some(spec("server")))]);
    view.workloads = vec![
        workload("here", "demo", &[("app", "server")]),
        workload("elsewhere", "production", &[("app", "server")]),
        workload("other", "demo", &[("app", "client")]),
        workload("bare", "demo", &[]),
    ];
    assert_eq!(exports(&view)[0].offer().unwrap().backends.len(), 1);
}

#[test]
fn the_older_of_two_services_with_one_hostname_wins_whatever_their_names() {
    let exports = exports(&view(vec![object("zebra", 1, Some(spec("server"))), object("ant", 2, Some(spec("server")))]));
    assert!(exports[0].offer().is_some());
    let conditions = conditions(&exports[1], all_is_well(&[]));
    assert_eq!(of(&conditions, ConditionKind::Accepted), (Status::False, "Conflict"));
    assert_eq!(of(&conditions, ConditionKind::Ready), (Status::False, "Conflict"));
    assert!(conditions[0].message.contains("demo/zebra"), "{}", conditions[0].message);
}

#[test]
fn a_service_that_was_never_valid_takes_no_hostname() {
    let exports = exports(&view(vec![object("broken", 1, None), object("good", 2, Some(spec("server")))]));
    assert_eq!(exports[0].decision, Decision::Invalid);
    assert!(exports[1].offer().is_some());
}

#[test]
fn each_thing_that_is_missing_has_its_own_condition_and_ready_names_the_first() {
    let well = [target("b.test", None)];
    let missing = Direction { trust_zone: "zone-b".parse().unwrap(), remote_trust_zone: "zone-a".parse().unwrap() };
    let unfederated = [target("b.test", Some(ExportRefusal::FederationMissing(vec![missing])))];
    let unknown = [target("b.test", Some(ExportRefusal::UnknownTrustDomain))];
    let earlier = [target("c.test", None)];
    let refused = ServiceRegistration::Refused("no".to_owned());
    let unreachable = ServiceRegistration::Unreachable("connection refused".to_owned());
    let agent_refused = ServiceRegistration::AgentRefused("Connect refuses this agent".to_owned());

    let mut no_workload = view(vec![object("ping-pong", 1, Some(spec("server")))]);
    let whole = no_workload.clone();
    no_workload.workloads.clear();
    let mut wrong_port = whole.clone();
    wrong_port.workloads[0].ports = BTreeMap::from([("a".to_owned(), port(1)), ("b".to_owned(), port(2))]);
    let mut kept = whole.clone();
    kept.services[0].problems = vec!["spec.port: a port is a number from 1 to 65535".to_owned()];
    let mut manual = whole.clone();
    manual.services[0].spec.as_mut().unwrap().gateways = vec![gateway()];

    use ConditionKind::{Accepted, BackendsReady, GatewayReady, Ready, Registered};
    use Status::{False, True, Unknown};
    type Case<'a> = (&'a str, &'a ClusterView, &'a [Gateway], Surroundings<'a>, ConditionKind, Status, &'a str, (Status, &'a str));
    let here = [gateway()];
    let cases: [Case<'_>; 16] = [
        ("all is well", &whole, &here, all_is_well(&well), Ready, True, "Exported", (True, "Exported")),
        ("no workload", &no_workload, &here, all_is_well(&well), BackendsReady, False, "NoWorkload", (False, "NoWorkload")),
        ("no port fits", &wrong_port, &here, all_is_well(&well), BackendsReady, False, "NoUsablePort", (False, "NoUsablePort")),
        ("no gateway", &whole, &[], all_is_well(&well), GatewayReady, False, "NoGateway", (False, "NoGateway")),
        ("manual gateway", &manual, &[], all_is_well(&well), GatewayReady, True, "ManualGateways", (True, "Exported")),
        (
            "no gateway Envoy",
            &whole,
            &here,
            Surroundings { gateway_connected: false, ..all_is_well(&well) },
            GatewayReady,
            False,
            "GatewayNotConnected",
            (False, "GatewayNotConnected"),
        ),
        ("kept", &kept, &here, all_is_well(&well), Accepted, False, "InvalidKeptLastValid", (False, "InvalidKeptLastValid")),
        (
            "not told yet",
            &whole,
            &here,
            Surroundings { registration: None, ..all_is_well(&well) },
            Registered,
            Unknown,
            "Pending",
            (Unknown, "Pending"),
        ),
        (
            "refused",
            &whole,
            &here,
            Surroundings { registration: Some(&refused), ..all_is_well(&well) },
            Registered,
            False,
            "Refused",
            (False, "Refused"),
        ),
        (
            "unreachable",
            &whole,
            &here,
            Surroundings { registration: Some(&unreachable), ..all_is_well(&well) },
            Registered,
            Unknown,
            "ConnectUnreachable",
            (Unknown, "ConnectUnreachable"),
        ),
        (
            "the agent is refused",
            &whole,
            &here,
            Surroundings { registration: Some(&agent_refused), ..all_is_well(&well) },
            Registered,
            False,
            "AgentRefused",
            (False, "AgentRefused"),
        ),
        (
            "the gateway waits",
            &whole,
            &here,
            Surroundings { gateway_waits: true, ..all_is_well(&well) },
            GatewayReady,
            False,
            "GatewayWaits",
            (False, "GatewayWaits"),
        ),
        (
            "no answer",
            &whole,
            &here,
            Surroundings { targets: None, ..all_is_well(&well) },
            Registered,
            True,
            "Registered",
            (Unknown, "AwaitingConnect"),
        ),
        ("an old answer", &whole, &here, all_is_well(&earlier), Registered, True, "Registered", (Unknown, "AwaitingConnect")),
        ("no federation", &whole, &here, all_is_well(&unfederated), Registered, True, "Registered", (False, "FederationMissing")),
        ("no such domain", &whole, &here, all_is_well(&unknown), Registered, True, "Registered", (False, "UnknownTrustDomain")),
    ];
    for (name, view, gateways, around, kind, status, reason, ready) in cases {
        let exports = export(&cluster(), gateways, view);
        let conditions = conditions(&exports[0], around);
        assert_eq!(conditions.iter().map(|condition| condition.kind).collect::<Vec<_>>(), ConditionKind::ALL, "{name}");
        assert_eq!(of(&conditions, kind), (status, reason), "{name}");
        assert_eq!(of(&conditions, Ready), ready, "{name}");
        for condition in conditions {
            assert!(!condition.message.is_empty(), "{name}: {condition:?}");
        }
    }
}

#[test]
fn a_remedy_that_is_a_question_is_followed_by_no_full_stop() {
    let mut view = view(vec![object("ping-pong", 1, Some(spec("server")))]);
    let problems =
        ["spec.prot: unknown field; did you mean port?", "spec.port: missing", "spec.gateway: unknown field; did you mean gateways?"];
    view.services[0].problems = problems.map(str::to_owned).to_vec();
    let conditions = conditions(&exports(&view)[0], all_is_well(&[]));
    let start =
        "spec.prot: unknown field; did you mean port? spec.port: missing. spec.gateway: unknown field; did you mean gateways? Until ";
    assert!(conditions[0].message.starts_with(start), "{}", conditions[0].message);
}

#[test]
fn a_missing_federation_comes_with_the_command_that_adds_it() {
    let direction = |from: &str, to: &str| Direction { trust_zone: from.parse().unwrap(), remote_trust_zone: to.parse().unwrap() };
    let missing = ExportRefusal::FederationMissing(vec![direction("zone-a", "zone-b"), direction("zone-b", "zone-a")]);
    let exports = exports(&view(vec![object("ping-pong", 1, Some(spec("server")))]));
    let targets = [target("b.test", Some(missing))];
    let conditions = conditions(&exports[0], all_is_well(&targets));
    let message = &conditions.last().unwrap().message;
    for part in ["zone-a -> zone-b", "cofidectl federation add --trust-zone zone-b --remote-trust-zone zone-a"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn ready_names_everything_that_stands_in_the_way_and_what_is_wrong_first() {
    let mut view = view(vec![object("ping-pong", 1, Some(spec("server")))]);
    view.workloads.clear();
    let targets = [target("b.test", Some(ExportRefusal::UnknownTrustDomain))];
    let exports = exports(&view);
    let around = Surroundings { registration: None, ..all_is_well(&targets) };
    let ready = conditions(&exports[0], around).pop().unwrap();
    assert_eq!((ready.status, ready.reason), (Status::False, "NoWorkload"));
    let places: Vec<_> = ["BackendsReady", "b.test", "Registered"].map(|word| ready.message.find(word).unwrap()).into();
    assert!(places.is_sorted(), "{}", ready.message);
}

#[test]
fn every_reason_is_documented() {
    let page = concat!(include_str!("../../../../docs/agent-host.md"), include_str!("../../../../docs/kubernetes/agent.md"));
    for reason in reasons::ALL {
        assert!(page.contains(&format!("`{reason}`")), "{reason} is on no page about the agent");
    }
}

/// A manifest that the agent takes must not be one that Connect refuses: the bounds are the same.
#[test]
fn what_a_manifest_may_hold_at_most_connect_takes_too() {
    use cofide_api::convert::federated_service::Draft;
    use cofide_core::{MAX_EXPORTED_TRUST_DOMAINS, MAX_GATEWAYS, MAX_SPIFFE_ID_PATH, MAX_SPIFFE_ID_PATHS, MAX_WORKLOAD_LABELS};
    let list = |most: usize, entry: &dyn Fn(usize) -> String| (0..most).map(entry).collect::<Vec<_>>();
    let path = |number: usize| format!("/{number:0>width$}", width = MAX_SPIFFE_ID_PATH - 1);
    let label = |number: usize| (format!("{}/{number:0>63}", vec!["a".repeat(61); 4].join(".")), "v".repeat(63));
    let manifest = |added: usize| {
        serde_json::json!({
            "apiVersion": "registry.cofide.io/v1alpha1",
            "kind": "FederatedService",
            "metadata": { "name": "ping-pong", "namespace": "demo" },
            "spec": {
                "name": "n".repeat(63),
                "namespace": "n".repeat(63),
                "exportedTrustDomains": list(MAX_EXPORTED_TRUST_DOMAINS + added, &|number| format!("{number:0>255}")),
                "workloadLabels": (0..MAX_WORKLOAD_LABELS + added).map(label).collect::<BTreeMap<_, _>>(),
                "port": 65535,
                "tlsMode": "IstioMtls",
                "spiffeIDPaths": list(MAX_SPIFFE_ID_PATHS + added, &path),
                "gateways": (0..MAX_GATEWAYS + added)
                    .map(|number| serde_json::json!({ "type": "istio-eastwestgateway", "hostname": format!("gw-{number}.test"), "port": 1 }))
                    .collect::<Vec<_>>(),
            },
        })
        .to_string()
    };
    let read = |text: &str| match cofide_k8s_api::read_manifests(text).remove(0).unwrap().object {
        cofide_k8s_api::Object::FederatedService(read) => read.check(&cluster().trust_domain),
        other => panic!("{other:?}"),
    };
    let exports = exports(&view(vec![object("ping-pong", 1, Some(read(&manifest(0)).unwrap()))]));
    let service = &exports[0].offer().unwrap().service;
    let message = cofide_api::types::federated_service::FederatedService::from(service);
    let draft = Draft::try_from(&message).unwrap();
    assert_eq!(draft.exported_trust_domains.len(), MAX_EXPORTED_TRUST_DOMAINS);
    assert_eq!(draft.gateway_specs.len(), MAX_GATEWAYS);
    assert_eq!(draft.spiffe_id_paths[0].as_str().len(), MAX_SPIFFE_ID_PATH);
    let refused = read(&manifest(1)).unwrap_err();
    assert_eq!(refused.len(), 4, "each list is bounded: {refused:?}");
}

#[test]
fn objects_that_the_mesh_does_not_have_stand_in_the_way_whatever_the_gateways() {
    let targets = [target("b.test", None)];
    let problems = ["the agent may not patch gateways".to_owned()];
    for manual in [vec![], vec![gateway()]] {
        let view = view(vec![object("ping-pong", 1, Some(ServiceSpec { gateways: manual, ..spec("server") }))]);
        let around = Surroundings { gateway_of_mesh: true, ..all_is_well(&targets) };
        assert_eq!(of(&conditions(&exports(&view)[0], around), ConditionKind::GatewayReady).0, Status::True);
        let conditions = conditions(&exports(&view)[0], Surroundings { mesh_problems: &problems, ..around });
        for kind in [ConditionKind::GatewayReady, ConditionKind::Ready] {
            assert_eq!(of(&conditions, kind), (Status::False, super::reasons::MESH_NOT_CONFIGURED));
        }
    }
}

#[test]
fn connect_is_told_the_first_thing_of_each_service_that_only_the_agent_can_see_to_be_wrong() {
    use crate::status::judge::unmet;
    let services = vec![object("one", 1, Some(spec("one"))), object("broken", 2, None)];
    let view = ClusterView { services, ..ClusterView::default() };
    let exports = exports(&view);
    let told = |around: Surroundings<'_>| {
        let judged: Vec<_> = exports.iter().map(|export| (export, conditions(export, around))).collect();
        let unmet = unmet(&judged);
        unmet.iter().map(|unmet| format!("{} {} {}", unmet.hostname, unmet.kind.as_str(), unmet.reason)).collect::<Vec<_>>()
    };
    let targets = [target("b.test", Some(ExportRefusal::UnknownTrustDomain))];
    let around = all_is_well(&targets);
    assert_eq!(told(around), ["one.demo.a.test BackendsReady NoWorkload"]);
    assert_eq!(told(Surroundings { gateway_connected: false, ..around }), ["one.demo.a.test GatewayReady GatewayNotConnected"]);

    let exports = self::exports(&self::view(vec![object("one", 1, Some(spec("one")))]));
    let judged: Vec<_> = exports.iter().map(|export| (export, conditions(export, around))).collect();
    assert_eq!(unmet(&judged), [], "which trust domains may import it, Connect knows best");
}
