//! The first start, the second, and the ones that fail.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use cofide_api::connect::trust_zone_service::ListTrustZonesRequest;
use cofide_connect::Config;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::{Client, Plane, refused};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn failure(change: impl FnOnce(&mut Config)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().join("data"), listen_address: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    change(&mut config);
    let error = Box::pin(cofide_connect::run(config, CancellationToken::new())).await.err().expect("it does not start");
    format!("{error:#}")
}

#[tokio::test]
async fn the_first_start_makes_what_is_missing_and_keeps_it_from_others() {
    let plane = Plane::start().await;
    let data = plane.folder.path().join("data");
    assert_eq!(mode(&data), 0o700);
    for file in ["admin-credential.json", "authority.json", "connect.db"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    assert_eq!(plane.credential["connect_url"], plane.address.to_string());
    assert_eq!(plane.credential["connect_spiffe_id"], "spiffe://management.local/ns/connect/sa/cofide-connect-api");
    assert!(plane.address.ip().is_loopback());
}

#[tokio::test]
async fn a_restart_keeps_everything_and_a_deleted_credential_is_replaced() {
    let plane = Plane::start().await;
    let zone = plane.zone("a").await;
    let (token, bundle) = (plane.token(), plane.credential["connect_bundle"].clone());
    let folder = plane.stop().await;
    let plane = Plane::start_in(folder, |_| {}).await;
    assert_eq!((plane.token(), &plane.credential["connect_bundle"]), (token.clone(), &bundle));
    let list = async |client: Client| client.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await;
    let zones = list(plane.admin().await).await.unwrap().into_inner().trust_zones;
    assert_eq!(zones.len(), 2);
    assert!(zones.iter().any(|stored| stored.id() == zone.id));

    let folder = plane.stop().await;
    std::fs::remove_file(folder.path().join("data/admin-credential.json")).unwrap();
    let plane = Plane::start_in(folder, |_| {}).await;
    assert_ne!(plane.token(), token);
    refused(list(plane.user(&token).await).await, Code::Unauthenticated, &[]);
    list(plane.admin().await).await.unwrap();
}

#[tokio::test]
async fn the_certificate_names_what_clients_dial() {
    let plane = Plane::start_with(|config| {
        config.url_base = Some("example.com".into());
        config.dns_names = vec!["other.example.org".into()];
    })
    .await;
    let text = std::fs::read_to_string(plane.folder.path().join("data/admin-credential.json")).unwrap();
    assert!(text.contains(&format!("connect.example.com:{}", plane.address.port())), "{text}");
    plane.admin().await.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await.unwrap();
}

#[tokio::test]
async fn plain_text_is_for_users_on_loopback() {
    let plane = Plane::start_with(|config| config.plaintext_address = Some("127.0.0.1:0".parse().unwrap())).await;
    let url = format!("http://{}", plane.plaintext_address.unwrap());
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let list = ListTrustZonesRequest::default;
    Client::new(channel.clone(), Some(&plane.token())).trust_zones().list_trust_zones(list()).await.unwrap();
    refused(Client::new(channel, None).trust_zones().list_trust_zones(list()).await, Code::Unauthenticated, &[]);

    let error = failure(|config| config.plaintext_address = Some("0.0.0.0:0".parse().unwrap())).await;
    assert!(error.contains("plaintext_address") && error.contains("loopback"), "{error}");
    let over_tls = Endpoint::from_shared(format!("http://{}", plane.address)).unwrap().connect().await;
    if let Ok(channel) = over_tls {
        let client = Client::new(channel, Some(&plane.token()));
        client.trust_zones().list_trust_zones(list()).await.expect_err("the TLS listener speaks no plain text");
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_named_with_the_way_out() {
    let plane = Plane::start().await;
    let taken = plane.address;
    let error = failure(|config| config.listen_address = taken).await;
    assert!(error.contains(&taken.to_string()) && error.contains("--listen-address"), "{error}");
    let error = failure(|config| config.admin_address = Some(taken)).await;
    assert!(error.contains("--admin-address"), "{error}");
    let data = plane.folder.path().join("data");
    let error = failure(|config| config.data_dir = data.clone()).await;
    assert!(error.contains(&data.display().to_string()) && error.contains("in use by another process"), "{error}");
    let error = failure(|config| config.data_dir = "/proc/connect".into()).await;
    assert!(error.contains("/proc/connect") && error.contains("--data-dir"), "{error}");
    assert_eq!(error.matches("/proc/connect").count(), 1, "nothing is said twice: {error}");

    let folder = plane.stop().await;
    std::fs::write(data.join("connect.db"), "not a database, but longer than its header would be: ".repeat(4)).unwrap();
    let error = failure(|config| config.data_dir = data.clone()).await;
    assert!(error.contains("connect.db"), "{error}");
    assert!(error.contains("not a SQLite database") && error.contains("move it away"), "{error}");
    std::fs::remove_file(data.join("connect.db")).unwrap();
    std::fs::create_dir(data.join("connect.db")).unwrap();
    let error = failure(|config| config.data_dir = data.clone()).await;
    assert!(error.contains("connect.db") && error.contains("directory") && error.contains("name a file"), "{error}");
    std::fs::remove_dir(data.join("connect.db")).unwrap();
    std::fs::set_permissions(data.join("admin-credential.json"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = failure(|config| config.data_dir = data.clone()).await;
    assert!(error.contains("chmod 600"), "{error}");
    drop(folder);
}

#[tokio::test]
async fn a_data_folder_belongs_to_one_management_trust_domain() {
    let folder = Plane::start().await.stop().await;
    let data = folder.path().join("data");
    let error = failure(|config| {
        config.data_dir = data;
        config.connect_trust_domain = "other.local".into();
    })
    .await;
    assert!(error.contains("management.local") && error.contains("other.local"), "{error}");
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cofide-connect")).args(arguments).env_clear().output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_program_says_what_is_wrong_on_stderr_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connect.yaml");
    std::fs::write(&file, "lisen_address: 127.0.0.1:0\n").unwrap();
    let output = program(&["serve", "--config", file.to_str().unwrap()]);
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("lisen_address") && text.contains("connect.yaml") && output.stdout.is_empty(), "{text}");

    let output = program(&["serve", "--plaintext-address", "0.0.0.0:80"]);
    assert!(!output.status.success() && stderr(&output).contains("loopback"), "{}", stderr(&output));
}

#[test]
fn the_printed_configuration_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connect.yaml");
    let printed = program(&["config", "print-default"]);
    assert!(printed.status.success());
    std::fs::write(&file, &printed.stdout).unwrap();
    let output = program(&["config", "print", "--config", file.to_str().unwrap(), "--listen-address", "127.0.0.1:1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("127.0.0.1:1") && text.contains("data_dir: connect-data"), "{text}");
}

#[test]
fn help_names_every_flag_and_variable() {
    let help = String::from_utf8(program(&["serve", "--help"]).stdout).unwrap();
    for word in ["--listen-address", "COFIDE_CONNECT_DATA_DIR", "--plaintext-address", "--connect-trust-domain"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    let version = String::from_utf8(program(&["version"]).stdout).unwrap();
    assert!(version.starts_with("cofide-connect "), "{version}");
}
