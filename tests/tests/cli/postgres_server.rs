//! The real cofide-connect on a real PostgreSQL server, as a person runs it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofide_testkit::postgres::{PASSWORD, Postgres};

use crate::support::Connect;

async fn database() -> String {
    tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap()
}

/// A file that only its owner reads, as it has to be.
fn secret(folder: &Path, content: &str) -> String {
    let file = folder.join("connection-string");
    std::fs::write(&file, content).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn a_connect_that_is_killed_leaves_everything_to_the_next_and_one_beside_it_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = secret(folder.path(), &format!("{}\n", database().await));
    let flags = ["--sql-connection-string-file", file.as_str()];
    let connect = Connect::start_with(&flags).await;
    assert!(connect.log().contains("  database    test_") && connect.log().contains(" (PostgreSQL)\n"), "{}", connect.log());
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test", "trust-zone add trust-zone-b --trust-domain b.test"]).await;
    connect.given(&["federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b"]).await;
    let (token, log) = (connect.token(), connect.log());
    drop(connect.kill().await);

    let next = Connect::start_with(&flags).await;
    assert_eq!(next.token(), token, "with a data folder of its own");
    let beside = Connect::start_with(&flags).await;
    beside.given(&["federation add --trust-zone trust-zone-b --remote-trust-zone trust-zone-a"]).await;
    for connect in [&next, &beside] {
        let zones = connect.cofidectl("trust-zone list").await;
        assert!(zones.stdout.contains("a.test") && zones.stdout.contains("b.test"), "{zones}");
        let federations = connect.cofidectl("federation list").await;
        assert_eq!(federations.stdout.lines().filter(|line| line.contains("trust-zone-a")).count(), 2, "{federations}");
    }
    for log in [log, next.log(), beside.log()] {
        assert!(!log.contains(PASSWORD) && !log.contains(&token), "{log}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_connection_is_said_without_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let output = |content: &str| {
        let mut command = Connect::serve(&folder.path().join("connect"));
        command.args(["--sql-connection-string-file", &secret(folder.path(), content)]);
        Connect::output(command)
    };
    let good = database().await;
    for (content, holds) in [
        (
            good.replace(PASSWORD, "l3tmein"),
            ["cannot use database test_", "password authentication failed", "correct the user and the password"],
        ),
        (good.replace("postgres://", "mysql://"), ["connection-string holds no connection string", "postgres://", "user:password@host"]),
        (format!("{good}_missing"), ["test_", "_missing at 127.0.0.1:", "create it"]),
    ] {
        let output = output(&content).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in holds {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains(PASSWORD) && !text.contains("l3tmein"), "{text}");
    }

    let mut print = Connect::command(&["config", "print"]);
    print.env("COFIDE_CONNECT_SQL_CONNECTION_STRING", &good);
    let printed = String::from_utf8(Connect::output(print).await.stdout).unwrap();
    assert!(printed.contains("(set)") && !printed.contains(PASSWORD), "{printed}");
}
