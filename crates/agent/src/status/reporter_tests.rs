//! What a person who reads the log hears of manifests.

use std::io;
use std::path::Path;

use super::*;
use crate::addresses::LoopbackPool;
use crate::export::{Decision, Export};
use crate::render::envoy::SidecarSettings;
use crate::view::{Kind, ObjectKey, Origin};
use crate::world::Exports;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn take(&self) -> Vec<String> {
        let text = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }
}

fn invalid(folder: &Path, problems: &[&str]) -> Export {
    let key = ObjectKey { kind: Kind::FederatedService, namespace: "demo".to_owned(), name: "ping-pong".to_owned() };
    let problems = problems.iter().map(|&problem| problem.to_owned()).collect();
    Export { key, origin: Origin::File(folder.join("demo.yaml")), generation: 1, problems, decision: Decision::Invalid }
}

#[test]
fn an_invalid_manifest_is_logged_once_with_its_first_reason_and_the_way_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(World::default());
    let resolver = "127.0.0.1:53".parse().unwrap();
    let xds = XdsService::new(SidecarSettings { pool: LoopbackPool::default(), resolver, fallback_resolvers: Default::default() });
    let reporter = StatusReporter::new(world.clone(), xds, folder.path());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let reconcile = |exports: Vec<Export>, problems: &[(&str, &str)]| {
        let problems = problems.iter().map(|(file, problem)| (Origin::File(file.into()), vec![(*problem).to_owned()])).collect();
        world.exports.set(Some(Exports { exports, problems, ..Exports::default() }));
        reporter.reconcile().unwrap();
        log.take()
    };

    let two_mistakes = || invalid(folder.path(), &["spec.port: missing", "spec.tlsMode: missing"]);
    let lines = reconcile(vec![two_mistakes()], &[]);
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    for part in ["WARN", "demo.yaml", "FederatedService demo/ping-pong", "spec.port: missing", "more=1", "demo.status.yaml"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    assert_eq!(reconcile(vec![two_mistakes()], &[]), [""; 0], "nothing has changed");

    let lines = reconcile(vec![invalid(folder.path(), &["spec.tlsMode: missing"])], &[]);
    assert!(lines.len() == 1 && lines[0].contains("spec.tlsMode: missing"), "{lines:#?}");

    let other = folder.path().join("other.yaml");
    std::fs::write(&other, "{").unwrap();
    let half = [(other.to_str().unwrap(), "document 1: not finished")];
    let lines = reconcile(vec![], &half);
    assert!(lines.len() == 1 && lines[0].contains("other.yaml") && lines[0].contains("not finished"), "{lines:#?}");
    let lines = reconcile(vec![], &[]);
    assert!(lines.len() == 1 && lines[0].contains("INFO") && lines[0].contains("other.yaml"), "{lines:#?}");
}
