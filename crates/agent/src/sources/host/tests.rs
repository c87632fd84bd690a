//! A real folder, a real watcher, the real loop.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::reconciler::{self, Pace};

const DEADLINE: Duration = Duration::from_secs(20);

fn manifest(name: &str, port: u16) -> String {
    format!(
        "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata: {{name: {name}, namespace: demo}}\nspec:\n  name: {name}\n  \
         namespace: demo\n  exportedTrustDomains: [b.test]\n  workloadLabels: {{app: {name}}}\n  port: {port}\n  tlsMode: Mtls\n"
    )
}

struct Running {
    world: Arc<World>,
    shutdown: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// With an interval that is far beyond the deadline: only the watcher can make it look.
fn run(folder: &Path, data: &Path) -> Running {
    let (world, wake, shutdown) = (Arc::new(World::default()), Wake::default(), CancellationToken::new());
    let own = TrustDomain::new("a.test").unwrap();
    let data = Arc::new(DataFolder::open(data).unwrap());
    let source = Arc::new(HostSource::open(folder.to_owned(), own, data, world.clone(), wake.clone(), shutdown.clone()).unwrap());
    let pace = Pace { interval: Duration::from_secs(3600), retry: Duration::from_millis(20) };
    tokio::spawn(reconciler::run("manifests", pace, wake, shutdown.clone(), move || {
        let result = source.reconcile();
        async move { result }
    }));
    Running { world, shutdown }
}

/// `name:port` for each service in force; `!` marks one whose present text is not valid.
fn services(world: &World) -> Option<Vec<String>> {
    let view = world.view.get();
    let services = view.as_ref().as_ref()?.services.iter();
    let show = |service: &crate::view::ServiceObject| {
        let port = service.spec.as_ref().map_or("none".to_owned(), |spec| spec.port.to_string());
        format!("{}:{port}{}", service.key.name, if service.problems.is_empty() { "" } else { "!" })
    };
    Some(services.map(show).collect())
}

async fn becomes(running: &Running, expected: &[&str]) {
    let wake = Wake::default();
    running.world.view.wakes(&wake);
    let wait = async {
        while services(&running.world).is_none_or(|services| services != expected) {
            wake.woken().await;
        }
    };
    if tokio::time::timeout(DEADLINE, wait).await.is_err() {
        panic!("expected {expected:?}, but the view is {:#?}", running.world.view.get());
    }
}

#[tokio::test]
async fn the_view_follows_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("one.yaml"), manifest("one", 1)).unwrap();
    let running = run(folder.path(), data.path());
    becomes(&running, &["one:1"]).await;
    std::fs::write(file("two.yaml"), manifest("two", 2)).unwrap();
    becomes(&running, &["one:1", "two:2"]).await;
    std::fs::write(file("two.yaml"), &manifest("two", 3)[..90]).unwrap();
    becomes(&running, &["one:1", "two:2!"]).await;
    std::fs::write(file(".two.tmp"), manifest("two", 3)).unwrap();
    std::fs::rename(file(".two.tmp"), file("two.yaml")).unwrap();
    becomes(&running, &["one:1", "two:3"]).await;
    std::fs::remove_file(file("one.yaml")).unwrap();
    becomes(&running, &["two:3"]).await;
}

#[tokio::test]
async fn a_folder_that_goes_away_withdraws_nothing_and_its_successor_is_watched() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("one.yaml"), manifest("one", 1)).unwrap();
    let (world, wake) = (Arc::new(World::default()), Wake::default());
    let data = Arc::new(DataFolder::open(&parent.path().join("data")).unwrap());
    let own = TrustDomain::new("a.test").unwrap();
    let source = HostSource::open(folder.clone(), own, data, world.clone(), wake.clone(), CancellationToken::new()).unwrap();
    source.reconcile().unwrap();
    assert_eq!(services(&world).unwrap(), ["one:1"]);

    std::fs::rename(&folder, parent.path().join("away")).unwrap();
    let error = source.reconcile().unwrap_err().to_string();
    assert!(error.contains("stay in force"), "{error}");
    assert_eq!(services(&world).unwrap(), ["one:1"]);

    std::fs::create_dir(&folder).unwrap();
    source.reconcile().unwrap();
    assert_eq!(services(&world).unwrap(), [""; 0], "an empty folder is an answer");
    std::fs::write(folder.join("two.yaml"), manifest("two", 2)).unwrap();
    tokio::time::timeout(DEADLINE, wake.woken()).await.expect("the new folder is watched");
    source.reconcile().unwrap();
    assert_eq!(services(&world).unwrap(), ["two:2"]);
}

#[tokio::test]
async fn a_restart_with_a_broken_file_serves_the_last_valid_version() {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.yaml"), manifest("one", 1)).unwrap();
    {
        let running = run(folder.path(), data.path());
        becomes(&running, &["one:1"]).await;
    }
    std::fs::write(folder.path().join("one.yaml"), "apiVersion: registry").unwrap();
    // The first run still holds the lock until its task is gone.
    let reopened = async {
        while DataFolder::open(data.path()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, reopened).await.expect("the data folder is released");
    let running = run(folder.path(), data.path());
    becomes(&running, &["one:1!"]).await;
}

#[tokio::test]
async fn what_could_not_be_remembered_is_remembered_as_soon_as_it_can() {
    let (folder, data_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = Arc::new(DataFolder::open(data_folder.path()).unwrap());
    let world = Arc::new(World::default());
    let own = TrustDomain::new("a.test").unwrap();
    let open =
        || HostSource::open(folder.path().to_owned(), own.clone(), data.clone(), world.clone(), Wake::default(), CancellationToken::new());
    let source = open().unwrap();
    // As a full disk would, a folder in its place keeps the file from being written, for root too.
    let in_the_way = data_folder.path().join("manifests.state");
    std::fs::create_dir_all(in_the_way.join("full")).unwrap();
    std::fs::write(folder.path().join("one.yaml"), manifest("one", 1)).unwrap();
    for _ in 0..2 {
        source.reconcile().expect_err("it says so for as long as it lasts");
        assert_eq!(services(&world).unwrap(), ["one:1"], "and it is in force all the same");
    }
    std::fs::remove_dir_all(&in_the_way).unwrap();
    source.reconcile().unwrap();
    drop(source);

    std::fs::write(folder.path().join("one.yaml"), "apiVersion: registry").unwrap();
    open().unwrap().reconcile().unwrap();
    assert_eq!(services(&world).unwrap(), ["one:1!"]);
}

#[tokio::test]
async fn a_restart_without_the_folder_serves_what_was_there_and_withdraws_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("one.yaml"), manifest("one", 1)).unwrap();
    let start = || {
        let world = Arc::new(World::default());
        let data = Arc::new(DataFolder::open(&parent.path().join("data")).unwrap());
        let own = TrustDomain::new("a.test").unwrap();
        let source = HostSource::open(folder.clone(), own, data, world.clone(), Wake::default(), CancellationToken::new()).unwrap();
        (source, world)
    };
    let (source, _) = start();
    source.reconcile().unwrap();
    drop(source);
    std::fs::remove_dir_all(&folder).unwrap();

    let (source, world) = start();
    source.reconcile().unwrap_err();
    assert_eq!(services(&world).unwrap(), ["one:1!"]);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("one.yaml"), manifest("one", 1)).unwrap();
    source.reconcile().unwrap();
    assert_eq!(services(&world).unwrap(), ["one:1"]);
}

#[tokio::test]
async fn an_agent_that_never_saw_its_folder_has_no_view() {
    let parent = tempfile::tempdir().unwrap();
    let world = Arc::new(World::default());
    let data = Arc::new(DataFolder::open(&parent.path().join("data")).unwrap());
    let own = TrustDomain::new("a.test").unwrap();
    let folder = parent.path().join("manifests");
    let source = HostSource::open(folder, own, data, world.clone(), Wake::default(), CancellationToken::new()).unwrap();
    let error = source.reconcile().unwrap_err().to_string();
    assert!(error.contains("create it") && error.contains("manifest_dir"), "{error}");
    assert_eq!(services(&world), None);
}
