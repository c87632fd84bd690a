//! A trust zone that lives: its SPIFFE server and its agent.

use std::path::{Path, PathBuf};

use cofide_testkit::wait::eventually;
use tokio::process::Command;

use super::{Connect, Program, program};

/// The trust zone `trust-zone-<letter>` with trust domain `<letter>.test` and cluster `cluster-<letter>`.
pub(crate) struct Zone {
    letter: char,
    folder: PathBuf,
    _server: Program,
    agent: Option<Program>,
}

impl Zone {
    /// With everything that comes before the agent.
    pub(crate) async fn start(connect: &Connect, letter: char) -> Self {
        let folder = connect.folder().join(format!("zone-{letter}"));
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        connect
            .given(&[
                &format!("trust-zone add trust-zone-{letter} --trust-domain {letter}.test"),
                &format!("cluster add cluster-{letter} --trust-zone trust-zone-{letter} --profile host"),
                &format!(
                    "agent join-token create --trust-zone trust-zone-{letter} --cluster cluster-{letter} --output-file {}",
                    folder.join("bootstrap.yaml").display()
                ),
            ])
            .await;
        let config = format!(
            "trust_domain: {letter}.test\nentries:\n  - spiffe_id_path: /cluster/cluster-{letter}/ns/cofide/sa/cofide-agent\n    \
             selectors: [\"unix:path:{}\"]\n",
            program("cofide-agent").canonicalize().unwrap().display()
        );
        std::fs::write(folder.join("server.yaml"), config).unwrap();
        let mut command = Command::new(program("trust-zone-server"));
        command.arg("run").arg("--config").arg(folder.join("server.yaml")).arg("--data-dir").arg(&folder).env_clear();
        let server = Program::start(command, &folder.join("server.log"), |log| log.contains("serving")).await;
        Self { letter, folder, _server: server, agent: None }
    }

    pub(crate) async fn start_agent(&mut self) {
        let mut command = Command::new(program("cofide-agent"));
        command.arg("run").env_clear();
        for (flag, value) in [
            ("--bootstrap-file", self.folder.join("bootstrap.yaml")),
            ("--data-dir", self.folder.join("agent")),
            ("--manifest-dir", self.folder.join("manifests")),
            ("--spiffe-endpoint-socket", format!("unix://{}", self.folder.join("workload-api.sock").display()).into()),
            ("--spire-server-socket", self.socket()),
            ("--xds-address", "127.0.0.1:0".into()),
            ("--dns-address", "127.0.0.1:0".into()),
        ] {
            command.arg(flag).arg(value);
        }
        let log = self.folder.join("agent.log");
        self.agent = Some(Program::start(command, &log, |log| log.contains("serving")).await);
    }

    pub(crate) async fn stop_agent(&mut self) {
        let status = self.agent.take().expect("it runs").stop().await;
        assert!(status.success(), "{status}");
    }

    /// Publishes another certificate authority, which Connect learns from the agent.
    pub(crate) async fn rotate_authority(&self, connect: &Connect) {
        let authorities = async || {
            let zone = connect.json(&format!("trust-zone get trust-zone-{}", self.letter)).await;
            zone["bundle"]["x509_authorities"].as_u64().unwrap()
        };
        let before = authorities().await;
        let prepare = ["authority", "prepare", "--socket"];
        let output = Command::new(program("trust-zone-server")).args(prepare).arg(self.socket()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        eventually("Connect has the new authority", authorities, |now| *now > before).await;
    }

    pub(crate) fn write_manifest(&self, name: &str, content: &str) {
        std::fs::write(self.folder.join("manifests").join(name), content).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
