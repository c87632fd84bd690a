//! The way to Connect, and everything that can stand in it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::{Connect, DEADLINE, Person, program};

const LIST: &str = "trust-zone list --credentials credential.json";

/// A person with a changed copy of the credential.
fn with_changed(connect: &Connect, change: impl FnOnce(&mut Value)) -> Person {
    let mut credential: Value = serde_json::from_slice(&std::fs::read(connect.credential()).unwrap()).unwrap();
    change(&mut credential);
    with_file(&credential.to_string())
}

fn with_file(content: &str) -> Person {
    let person = Person::new();
    let path = person.write("credential.json", content);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    person
}

#[tokio::test]
async fn the_credential_is_found_by_flag_by_variable_and_at_home() {
    let connect = Connect::start().await;
    connect.given(&["trust-zone list"]).await;
    let path = connect.credential().display().to_string();
    Person::new().cofidectl(&format!("trust-zone list --credentials {path}")).await.done();
    Person::new().exporting("COFIDE_CREDENTIALS", path).cofidectl("trust-zone list").await.done();
    let by_file = Person::new();
    by_file.write("config.yaml", &format!("credentials: {}\n", connect.credential().display()));
    by_file.cofidectl("trust-zone list --config config.yaml").await.done();
}

#[tokio::test]
async fn without_a_credential_the_way_to_one_is_told() {
    let person = Person::new();
    let holds = ["cannot read", ".cofide/credentials", "hint: ", "--credentials", "COFIDE_CREDENTIALS", "admin-credential.json"];
    person.cofidectl("trust-zone list").await.refused(1, &holds);
    person.cofidectl("trust-zone list --credentials nowhere.json").await.refused(1, &["nowhere.json", "hint: "]);
}

#[tokio::test]
async fn a_credential_that_others_can_read_is_not_used() {
    let connect = Connect::start().await;
    let person = with_changed(&connect, |_| {});
    person.cofidectl(LIST).await.done();
    for bits in [0o644, 0o640, 0o604] {
        std::fs::set_permissions(person.home().join("credential.json"), std::fs::Permissions::from_mode(bits)).unwrap();
        person.cofidectl(LIST).await.refused(1, &["credential.json", &format!("{bits:o}"), "chmod 600 credential.json"]);
    }
}

#[tokio::test]
async fn the_credential_of_somebody_else_is_named_with_its_owner_and_the_way_to_one_of_ones_own() {
    // As somebody who owns nothing here; whoever is not root is that already, for a file of root's.
    let is_root = nix::unistd::geteuid().is_root();
    let folder = tempfile::tempdir().unwrap();
    let cofidectl = folder.path().join("cofidectl");
    std::fs::copy(program("cofidectl"), &cofidectl).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let closed = if is_root { folder.path().join("data") } else { "/root".into() };
    if is_root {
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(closed.join("admin-credential.json"), "{}").unwrap();
    }
    for (path, whose) in [
        (closed.join("admin-credential.json"), format!("the folder {} belongs to user root (uid 0)", closed.display())),
        ("/etc/shadow".into(), "it belongs to user root (uid 0)".to_owned()),
    ] {
        let mut command = tokio::process::Command::new(&cofidectl);
        command.args(["trust-zone", "list", "--credentials"]).arg(&path).env_clear().current_dir("/");
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let own = if is_root { 65534 } else { nix::unistd::geteuid().as_raw() };
        for part in [
            whose,
            format!("(uid {own})"),
            "hint: run cofidectl as user root".into(),
            format!("sudo install -D -o {own} -m 600 {}", path.display()),
        ] {
            assert!(text.contains(&part), "{part:?} is not in\n{text}");
        }
        assert_eq!(output.status.code(), Some(1));
    }
}

#[tokio::test]
async fn a_credential_that_is_none_is_told_apart_and_never_quoted() {
    let connect = Connect::start().await;
    for (content, holds) in [
        ("", &["credential.json is not a credential file", "hint: "][..]),
        ("{\"access_token\": \"hunter2\"", &["credential.json is not a credential file", "hint: "]),
        ("[\"hunter2\"]", &["credential.json is not a credential file", "hint: "]),
        ("{\"access_token\": \"hunter2\", \"connect_url\": 5}", &["connect_url", "hint: "]),
        // What older tools wrote: a token, and nothing to recognise Connect by.
        ("{\"access_token\": \"hunter2\"}", &["how to recognise Connect", "connect_bundle"]),
        ("cofide_access_token=hunter2\n", &["how to recognise Connect", "connect_bundle"]),
    ] {
        let refused = with_file(content).cofidectl(&format!("{LIST} --connect-url {}", connect.url)).await.refused(1, holds);
        assert!(!refused.stderr.contains("hunter2"), "{refused}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_not_repeated() {
    let connect = Connect::start().await;
    let person = with_changed(&connect, |credential| credential["access_token"] = json!("hunter2"));
    let refused = person.cofidectl(LIST).await.refused(1, &["does not accept the credential", "hint: ", "--credentials"]);
    assert!(!refused.stderr.contains("hunter2"), "{refused}");
    let changed = person.cofidectl("trust-zone add a --trust-domain a.test --credentials credential.json").await;
    changed.refused(1, &["does not accept the credential"]);
    assert_eq!(connect.json("trust-zone list").await.as_array().unwrap().len(), 1, "and nothing was done");
    let unprintable = with_changed(&connect, |credential| credential["access_token"] = json!("two\nlines"));
    unprintable.cofidectl(LIST).await.refused(1, &["access token"]);
}

#[tokio::test]
async fn only_the_connect_of_the_credential_is_talked_to() {
    let (connect, other) = (Connect::start().await, Connect::start_with(&["--connect-trust-domain", "other.local"]).await);
    let namesake = Connect::start().await;
    let wrong_authority = connect.cofidectl(&format!("trust-zone list --connect-url {}", namesake.url)).await;
    wrong_authority.refused(1, &[&namesake.url, "refusing to talk", "management.local", "hint: "]);
    let wrong_identity = connect.cofidectl(&format!("trust-zone list --connect-url {}", other.url)).await;
    wrong_identity.refused(1, &[&other.url, "refusing to talk", "other.local", "hint: "]);
    for lone in [&other, &namesake] {
        assert!(lone.json("audit list --outcome denied").await["events"].as_array().unwrap().is_empty(), "no token was sent there");
    }
}

#[tokio::test]
async fn an_address_where_connect_is_not_is_named() {
    let connect = Connect::start_with(&["--plaintext-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]).await;
    let plaintext = connect.listening("plain text");
    // Bound and not listening: refused, and nobody else can take the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let silent = socket.local_addr().unwrap().to_string();
    for (url, holds) in [
        (silent.as_str(), &["cannot reach Connect", "check the address", "cofide-connect runs there"][..]),
        ("connect.invalid:8443", &["cannot reach Connect", "check the address"]),
        (plaintext.as_str(), &["does not speak TLS", "check the address and the port"]),
    ] {
        connect.cofidectl(&format!("federation list --connect-url {url}")).await.refused(1, &[url]).refused(1, holds);
    }
    for (url, expected) in [
        ("http://127.0.0.1:8443", "asks for plain text"),
        ("127.0.0.1:port", "host:port"),
        ("127.0.0.1:8443/path", "something follows the port"),
        ("someone@127.0.0.1:8443", "user name"),
    ] {
        connect.cofidectl(&format!("federation list --connect-url {url}")).await.refused(2, &[url, expected]);
    }
    connect.given(&[&format!("federation list --connect-url https://{}/", connect.url)]).await;
    let person = Person::with_credential(&connect.credential()).exporting("COFIDE_CONNECT_URL", silent.clone());
    person.cofidectl("federation list").await.refused(1, &[&silent]);
}

#[tokio::test]
async fn when_connect_stops_and_returns_cofidectl_says_so_and_goes_on() {
    let connect = Connect::start().await;
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test"]).await;
    let url = connect.url.clone();
    let (status, folder) = connect.stop().await;
    assert!(status.success(), "{status}");
    let person = Person::with_credential(&folder.path().join("connect/admin-credential.json"));
    let stopped = person.cofidectl("trust-zone list").await;
    stopped.refused(1, &["cannot reach Connect", &url, "cofide-connect runs there"]);

    // On another port: the credential follows, and whoever uses it.
    let again = Connect::start_in(folder, &[]).await;
    assert_ne!(again.url, url);
    let back = person.cofidectl("trust-zone list").await;
    assert!(back.stdout.contains("trust-zone-a"), "{back}");
}
