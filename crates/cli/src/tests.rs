//! Whole command lines, as far as they get without Connect. What they do with it is tested against the real one.

use std::ffi::OsString;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofide_connect_client::{AccessToken, Credential};
use cofide_core::{Bundle, ControlPlaneTrust, SpiffeId, X509Authority};

use crate::{Color, Surroundings, run};

struct Outcome {
    code: u8,
    stdout: String,
    stderr: String,
}

async fn cofidectl(home: &Path, line: &[&str]) -> Outcome {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let line = std::iter::once("cofidectl").chain(line.iter().copied()).map(OsString::from);
    let around =
        Surroundings { home: Some(home.to_owned()), stdout: &mut stdout, stderr: &mut stderr, color: Color::default(), progress: None };
    let code = run(line, around).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code, stdout: text(stdout), stderr: text(stderr) }
}

/// A credential for a Connect that nobody runs.
fn credential(url: &str) -> Credential {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap();
    let spiffe_id = SpiffeId::new("spiffe://management.test/ns/connect/sa/cofide-connect-api").unwrap();
    let x509_authorities = vec![X509Authority { der: certificate.der().to_vec(), tainted: false }];
    let bundle = Bundle { x509_authorities, ..Bundle::empty(spiffe_id.trust_domain().clone()) };
    Credential {
        access_token: AccessToken::new("hunter2"),
        connect_url: Some(url.parse().unwrap()),
        connect: Some(ControlPlaneTrust { spiffe_id, bundle }),
    }
}

/// An address at which nobody listens.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn version_completion_and_help_need_nothing_and_go_to_stdout() {
    let home = tempfile::tempdir().unwrap();
    for (line, expected) in [
        (&["version"][..], "cofidectl 0."),
        (&["--version"], "cofidectl 0."),
        (&["version", "--build-info"], "profile: "),
        (&["completion", "bash"], "complete -F _cofidectl"),
        (&["trust-zone", "--help"], "Usage: cofidectl trust-zone"),
    ] {
        let outcome = cofidectl(home.path(), line).await;
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{line:?}");
        assert!(outcome.stdout.contains(expected), "{line:?}: {}", outcome.stdout);
    }
}

#[tokio::test]
async fn a_mistake_on_the_command_line_is_exit_code_2_and_on_stderr() {
    let home = tempfile::tempdir().unwrap();
    credential(&nowhere()).write(&home.path().join("credential")).unwrap();
    let path = home.path().join("credential");
    let named = ["--credentials", path.to_str().unwrap()];
    for (line, expected) in [
        (vec!["trust-zone", "ad"], "Error: unrecognized subcommand 'ad'"),
        (vec!["federation", "add", "--trust-zone", "a"], "Error: the following required arguments were not provided"),
        (
            vec!["apbinding", "update", "--trust-zone=a", "--attestation-policy=p", "--federates-with=b", "--clear-federations"],
            "Error: cannot simultaneously specify --federates-with and --clear-federations",
        ),
        (vec!["trust-zone", "list", "--connect-url", "http://connect.test"], "Error: \"http://connect.test\" asks for plain text"),
    ] {
        // Nobody listens, so whoever gets as far as calling fails otherwise.
        let line: Vec<_> = line.into_iter().chain(named).collect();
        let outcome = cofidectl(home.path(), &line).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{line:?}: {}", outcome.stderr);
        assert!(outcome.stderr.starts_with(expected), "{line:?}: {}", outcome.stderr);
    }
}

#[tokio::test]
async fn without_a_credential_the_way_to_one_is_told() {
    let home = tempfile::tempdir().unwrap();
    let outcome = cofidectl(home.path(), &["trust-zone", "list"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    for expected in ["Error: cannot ", ".cofide/credentials", "hint: ", "--credentials", "COFIDE_CREDENTIALS", "admin-credential.json"] {
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
    }
}

#[tokio::test]
async fn a_connect_that_is_not_there_is_named_by_its_address() {
    let home = tempfile::tempdir().unwrap();
    let (in_the_file, on_the_line) = (nowhere(), nowhere());
    std::fs::create_dir(home.path().join(".cofide")).unwrap();
    credential(&in_the_file).write(&home.path().join(".cofide/credentials")).unwrap();
    for (line, address) in
        [(&["federation", "list"][..], &in_the_file), (&["federation", "list", "--connect-url", &on_the_line], &on_the_line)]
    {
        let outcome = cofidectl(home.path(), line).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
        assert!(outcome.stderr.starts_with("Error: ") && outcome.stderr.contains(address.as_str()), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("hunter2"));
    }
}

#[tokio::test]
async fn a_join_token_is_not_asked_for_where_it_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("credential");
    credential(&nowhere()).write(&path).unwrap();
    let nested = home.path().join("missing/bootstrap.yaml");
    let line = ["agent", "join-token", "create", "--trust-zone=a", "--cluster=c", "--output-file", nested.to_str().unwrap()];
    let line: Vec<_> = line.into_iter().chain(["--credentials", path.to_str().unwrap()]).collect();
    let outcome = cofidectl(home.path(), &line).await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("missing/bootstrap.yaml"), "{}", outcome.stderr);
}

#[tokio::test]
async fn each_output_is_coloured_only_if_it_is_a_terminal_itself() {
    let printed = async |words: &[&str], color| {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let line = std::iter::once("cofidectl").chain(words.iter().copied()).map(OsString::from);
        run(line, Surroundings { home: None, stdout: &mut stdout, stderr: &mut stderr, color, progress: None }).await;
        (stdout.contains(&0x1b), stderr.contains(&0x1b))
    };
    let (only_stdout, only_stderr) = (Color { stdout: true, stderr: false }, Color { stdout: false, stderr: true });
    assert_eq!(printed(&["--help"], only_stdout).await, (true, false));
    assert_eq!(printed(&["--help"], only_stderr).await, (false, false), "help in a pipe beside a terminal");
    assert_eq!(printed(&["trust-zone", "list"], only_stderr).await, (false, true));
    assert_eq!(printed(&["trust-zone", "list"], only_stdout).await, (false, false), "an error in a file beside a terminal");
}

/// What is written to it can be read while it is still written to.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_person_is_told_when_connect_takes_its_time() {
    let home = tempfile::tempdir().unwrap();
    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = home.path().join("credential");
    credential(&silent.local_addr().unwrap().to_string()).write(&path).unwrap();
    let (mut stdout, mut stderr, mut screen) = (Vec::new(), Vec::new(), Screen::default());
    let seen = screen.clone();
    let line = ["cofidectl", "trust-zone", "list", "--credentials", path.to_str().unwrap()].map(OsString::from);
    let around =
        Surroundings { home: None, stdout: &mut stdout, stderr: &mut stderr, color: Color::default(), progress: Some(&mut screen) };
    let told = async {
        while seen.0.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        code = run(line, around) => panic!("it ended with {code} and said nothing"),
        () = told => {}
    }
    assert_eq!(seen.0.lock().unwrap().as_slice(), b"waiting for Connect...\n");
}

const CREATE: [&str; 14] = [
    "federated-service",
    "create",
    "--name=server",
    "--namespace",
    "demo",
    "--export-to",
    "other1.domain,other2.domain",
    "--labels",
    "app=ping-pong-server",
    "--port",
    "8443",
    "--tls-mode",
    "Mtls",
    "--gateway=istio-ingressgateway=gw.example.com:5432",
];

#[tokio::test]
async fn a_manifest_is_made_of_flags_and_is_what_the_agent_reads() {
    let home = tempfile::tempdir().unwrap();
    let outcome = cofidectl(home.path(), &CREATE).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(outcome.stdout);

    // And so it is found valid again, from its file.
    let file = home.path().join("service.yaml");
    std::fs::write(&file, &outcome.stdout).unwrap();
    let again = cofidectl(home.path(), &["federated-service", "create", "--file", file.to_str().unwrap()]).await;
    assert_eq!((again.code, &again.stdout), (0, &outcome.stdout), "{}", again.stderr);
    let json = cofidectl(home.path(), &[&CREATE[..], &["-o", "json"]].concat()).await.stdout;
    let (json, yaml): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&json).unwrap(), serde_saphyr::from_str(outcome.stdout.trim_start_matches("---\n")).unwrap());
    assert_eq!(json, yaml);
}

#[tokio::test]
async fn a_manifest_that_the_agent_would_refuse_is_not_printed() {
    let home = tempfile::tempdir().unwrap();
    for (change, expected) in [
        (&["--trust-domain", "other1.domain"][..], "spec.exportedTrustDomains[0]"),
        (&["--spiffe-id-path", "a//b"], "spec.spiffeIDPaths[0]"),
        (&["--export-to", "Other"], "spec.exportedTrustDomains[2]"),
    ] {
        let outcome = cofidectl(home.path(), &[&CREATE[..], change].concat()).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{change:?}");
        assert!(outcome.stderr.contains("demo/server is not valid") && outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
    let file = home.path().join("services.yaml");
    std::fs::write(&file, "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata: {name: a}\n---\nkind: Secret\n")
        .unwrap();
    let outcome = cofidectl(home.path(), &["federated-service", "create", "--file", file.to_str().unwrap()]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    for expected in ["FederatedService default/a is not valid", "spec.tlsMode", "document 2, line 4"] {
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
    }
}

/// As `kubectl get services --all-namespaces -o json` prints them, without what nobody reads here.
const SERVICES: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server", "namespace": "demo", "uid": "1"},
     "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "selector": {"app": "server"},
              "ports": [{"name": "tls", "port": 8443, "targetPort": 9443, "protocol": "TCP"}]}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "two-ports", "namespace": "demo"},
     "spec": {"selector": {"app": "two"}, "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"port": 3, "protocol": "UDP"}]}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "datagrams", "namespace": "demo"},
     "spec": {"selector": {"app": "udp"}, "ports": [{"port": 53, "protocol": "UDP"}]}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "elsewhere", "namespace": "demo"},
     "spec": {"type": "ExternalName", "externalName": "example.com"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"},
     "spec": {"ports": [{"port": 443}]}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other", "namespace": "demo"},
     "spec": {"clusterIP": "None", "selector": {"app": "other", "tier": "front"}, "ports": [{"port": 80}]}}
]}"#;

async fn export(home: &Path, line: &[&str]) -> Outcome {
    let file = home.join("services.json");
    std::fs::write(&file, SERVICES).unwrap();
    let common = ["federated-service", "export", "--export-to", "b.test", "--tls-mode", "IstioMtls", "--file", file.to_str().unwrap()];
    cofidectl(home, &[&common, line].concat()).await
}

#[tokio::test]
async fn services_that_exist_become_manifests_and_what_cannot_is_told() {
    let home = tempfile::tempdir().unwrap();
    let all = export(home.path(), &["--all"]).await;
    assert_eq!(all.code, 0, "{}", all.stderr);
    insta::assert_snapshot!(format!("{}\nstderr:\n{}", all.stdout, all.stderr));

    let two = export(home.path(), &["demo/server", "two-ports", "--port", "tls"]).await;
    assert_eq!((two.code, two.stdout.as_str()), (1, ""), "who names a Service wants it");
    assert!(two.stderr.contains("demo/two-ports: its ports are 1 (a), 2 (b)"), "{}", two.stderr);
    let chosen = export(home.path(), &["two-ports", "--port", "b"]).await;
    assert!(chosen.code == 0 && chosen.stdout.contains("port: 2\n"), "{}", chosen.stderr);
    let missing = export(home.path(), &["demo/servr"]).await;
    assert!(missing.code == 1 && missing.stderr.contains("hint: there are demo/server"), "{}", missing.stderr);
}

#[tokio::test]
async fn a_list_of_other_things_is_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pods.yaml");
    for (text, expected) in [
        ("kind: PodList\nitems: []\n", "it is a PodList"),
        ("kind: [", "is not what kubectl prints"),
        ("kind: List\nitems: []\n", "holds no Service"),
        ("{}", "is not what kubectl prints"),
    ] {
        std::fs::write(&file, text).unwrap();
        let line = ["federated-service", "export", "--all", "--export-to=b.test", "--tls-mode=Mtls", "--file", file.to_str().unwrap()];
        let outcome = cofidectl(home.path(), &line).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{text}");
        assert!(outcome.stderr.contains(expected), "{text}: {}", outcome.stderr);
    }
}
