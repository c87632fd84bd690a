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
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
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
