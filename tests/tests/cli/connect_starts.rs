//! How cofide-connect starts, stops and starts again, and what keeps it from doing so.

use std::process::Output;

use nix::sys::signal::Signal;

use crate::support::{Connect, Person, assert_transcript, mode};

fn stderr(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that it ended at once with this exit code and one error that holds all of these.
#[track_caller]
fn assert_refused(output: &Output, code: i32, holds: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("Error: ") || text.starts_with("error: "), "{text}");
    for part in holds {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[tokio::test]
async fn the_first_start_says_what_it_made_and_what_to_do_next_and_that_works() {
    let connect = Connect::start_with(&["--plaintext-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]).await;
    let log = connect.log();
    let (_, greeting) = log.split_once(")\n").unwrap();
    assert_transcript!(text connect.masked(greeting));
    assert_eq!((mode(&connect.data()), mode(&connect.credential())), (0o700, 0o600));
    assert!(!log.contains(&connect.token()), "the access token is in the log: {log}");

    let (_, next) = log.split_once("next:\n").unwrap();
    let mut person = Person::new();
    let mut commands = 0;
    for line in next.lines().map(str::trim) {
        if let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('=')) {
            person = person.exporting(name, value);
        } else {
            person.cofidectl(line.strip_prefix("cofidectl ").unwrap()).await.done();
            commands += 1;
        }
    }
    assert!(commands > 0, "{log}");
    let clusters = connect.cofidectl("cluster list").await;
    assert!(clusters.stdout.contains("my-cluster"), "{clusters}");
}

#[tokio::test]
async fn a_second_one_on_the_same_folder_does_not_start_and_does_no_harm() {
    let connect = Connect::start().await;
    let second = Connect::output(Connect::serve(&connect.data())).await;
    assert_refused(&second, 1, &[&connect.data().display().to_string(), "in use by another process", "choose another with --data-dir"]);
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test"]).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_flag() {
    let connect = Connect::start().await;
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--listen-address", "--plaintext-address", "--admin-address"] {
        let mut command = Connect::command(&["serve", "--data-dir"]);
        command.arg(folder.path()).args([flag, &connect.url]);
        if flag != "--listen-address" {
            command.args(["--listen-address", "127.0.0.1:0"]);
        }
        let output = Connect::output(command).await;
        assert_refused(&output, 1, &[&connect.url, "another program has this port", flag]);
    }
    assert!(!folder.path().join("admin-credential.json").exists(), "nothing was made for a server that never was");
    let mut elsewhere = Connect::command(&["serve", "--listen-address", "192.0.2.1:0", "--data-dir"]);
    elsewhere.arg(folder.path());
    assert_refused(&Connect::output(elsewhere).await, 1, &["192.0.2.1:0", "belongs to no interface of this machine", "--listen-address"]);
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    // Not even root can write to these.
    for data in [file.clone(), file.join("below"), "/proc/cofide-connect".into()] {
        let output = Connect::output(Connect::serve(&data)).await;
        assert_refused(&output, 1, &[&data.display().to_string(), "cannot use the data folder", "--data-dir"]);
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_named_by_its_key_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connect.yaml");
    let data = folder.path().join("data");
    for (content, holds) in [
        ("lisen_address: 127.0.0.1:0\n", &["connect.yaml", "lisen_address", "`listen_address`"][..]),
        ("listen_address: localhost\n", &["connect.yaml", "listen_address"]),
        ("join_token_ttl: soon\n", &["connect.yaml", "join_token_ttl", "soon"]),
        ("join_token_ttl: 0s\n", &["join_token_ttl", "a duration from 1s to"]),
        ("plaintext_address: 0.0.0.0:8080\n", &["plaintext_address", "0.0.0.0:8080", "no loopback address", "127.0.0.1"]),
        ("connect_trust_domain: Management\n", &["connect_trust_domain", "Management"]),
        ("log_level: loud\n", &["loud", "debug"]),
        ("- a list\n", &["connect.yaml", "mapping"]),
        ("listen_address: [\n", &["connect.yaml", "YAML"]),
    ] {
        std::fs::write(&file, content).unwrap();
        let mut command = Connect::command(&["serve", "--config"]);
        command.arg(&file).arg("--data-dir").arg(&data);
        assert_refused(&Connect::output(command).await, 1, holds);
        assert!(!data.exists(), "{content}");
    }
    let mut missing = Connect::command(&["serve", "--config"]);
    missing.arg(folder.path().join("missing.yaml"));
    assert_refused(&Connect::output(missing).await, 1, &["missing.yaml", "--config"]);
    for (arguments, holds) in [
        (&["serve", "--lisen-address", "127.0.0.1:0"][..], &["'--lisen-address'", "'--listen-address'"][..]),
        (&["serve", "--listen-address", "localhost"], &["'localhost'", "--listen-address <IP:PORT>"]),
        (&["serv"], &["'serv'", "'serve'"]),
    ] {
        assert_refused(&Connect::output(Connect::command(arguments)).await, 2, holds);
    }
    let mut plain = Connect::command(&["serve"]);
    plain.env("COFIDE_CONNECT_PLAINTEXT_ADDRESS", "0.0.0.0:8080").current_dir(folder.path());
    assert_refused(&Connect::output(plain).await, 1, &["plaintext_address", "no loopback address"]);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let connect = Connect::start().await;
    connect
        .given(&[
            "trust-zone add trust-zone-a --trust-domain a.test",
            "trust-zone add trust-zone-b --trust-domain b.test",
            "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
        ])
        .await;
    let everything = async |connect: &Connect| {
        let mut all = vec![connect.token()];
        for list in ["trust-zone list", "federation list", "audit list"] {
            all.push(connect.json(list).await.to_string());
        }
        all
    };
    let before = everything(&connect).await;
    let (status, folder) = connect.stop().await;
    assert_eq!(status.code(), Some(0));
    let again = Connect::start_in(folder, &[]).await;
    assert!(!again.log().contains("made"), "a second start makes nothing: {}", again.log());
    assert_eq!(everything(&again).await, before);

    // Without a chance to tidy up: the lock is free, and what was answered is kept.
    again.given(&["trust-zone add trust-zone-c --trust-domain c.test"]).await;
    let folder = again.kill().await;
    let last = Connect::start_in(folder, &[]).await;
    let zones = last.cofidectl("trust-zone list").await;
    assert!(zones.stdout.contains("trust-zone-c"), "{zones}");
}

#[tokio::test]
async fn a_signal_ends_it_with_success() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let connect = Connect::start().await;
        connect.given(&["trust-zone list"]).await;
        connect.signal(signal);
        assert_eq!(connect.ended().await.code(), Some(0), "{signal}");
    }
}
