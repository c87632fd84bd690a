//! The pages docs/kubernetes/install.md and lab.md, followed word by word on clusters of the lab.
//!
//! What lab.md says about one of its commands, that it takes the place of one of install.md or that it comes after it, is what
//! happens here; only `make lab` and `make lab-pods` are done by the test itself, with the same code.

use std::path::Path;
use std::time::{Duration, Instant};

use cofide_testkit::lab::{Lab, RunningPod, TrustZone, install, merged_kubeconfig};
use cofide_testkit::page::{Block, Shell, blocks};

use crate::support::checkout;

/// Far beyond what anything takes, for a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_secs(90);

fn page(name: &str) -> Vec<Block> {
    blocks(&std::fs::read_to_string(checkout().join("docs/kubernetes").join(name)).unwrap())
}

/// The blocks of the section whose heading begins so.
fn section<'a>(page: &'a [Block], heading: &str) -> Vec<&'a str> {
    let blocks: Vec<_> = page.iter().filter(|block| block.heading.starts_with(heading)).map(|block| block.commands.as_str()).collect();
    assert!(!blocks.is_empty(), "the page has no commands under a heading {heading}");
    blocks
}

/// Somebody who reads.
struct Reader {
    shell: Shell,
    a: TrustZone,
    b: TrustZone,
    programs: std::path::PathBuf,
    pods: Vec<RunningPod>,
}

impl Reader {
    async fn follows(&mut self, commands: &str) -> String {
        match self.shell.succeed(commands).await {
            Ok(printed) => printed,
            Err(error) => panic!("{error:#}\n{}", self.logs()),
        }
    }

    /// What lab.md has `make lab-pods` for. Gives how many were started.
    async fn starts_pods(&mut self) -> usize {
        let before = self.pods.len();
        for zone in [&self.a, &self.b] {
            for pod in zone.kubelet(&self.programs).unwrap().start_pods().await.unwrap() {
                self.pods.push(pod.unwrap_or_else(|error| panic!("{error:#}")));
            }
        }
        self.pods.len() - before
    }

    /// Repeats the commands until they succeed.
    async fn sees(&mut self, commands: &str) {
        let start = Instant::now();
        while let Err(error) = self.shell.succeed(commands).await {
            assert!(start.elapsed() < PATIENCE, "{error:#}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn logs(&self) -> String {
        let processes = self.pods.iter().flat_map(|pod| &pod.processes);
        processes.map(cofide_testkit::lab::Process::log_tail).collect::<Vec<_>>().join("\n")
    }

    fn log_of(&self, pod: &str, container: &str) -> String {
        let pod = self.pods.iter().find(|running| running.name == pod).unwrap_or_else(|| panic!("no pod {pod}"));
        std::fs::read_to_string(pod.host.folder.join(format!("{container}.log"))).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_about_installing_in_kubernetes_are_followed_word_by_word_in_the_lab() {
    let (installing, in_lab) = (page("install.md"), page("lab.md"));
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start().unwrap();
    let programs = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let (a, b) = tokio::try_join!(
        lab.trust_zone("cluster-a", "a.example", true, &programs),
        lab.trust_zone("cluster-b", "b.example", false, &programs)
    )
    .unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, merged_kubeconfig([&a.cluster, &b.cluster]).unwrap()).unwrap();
    let mut reader = Reader { shell: Shell::start(checkout()).unwrap(), a, b, programs, pods: Vec::new() };

    // What `lab env` prints, for clusters that are not kept. Helm's own settings are not those of this machine.
    let path = [reader.programs.clone(), install("helm").await.unwrap()].map(|folder| folder.display().to_string()).join(":");
    let environment = format!(
        "export KUBECONFIG={} LAB_ADDRESS={} HOME={} PATH={path}:$PATH",
        kubeconfig.display(),
        lab.address(),
        folder.path().display()
    );
    let clusters = section(&in_lab, "The clusters")[0];
    let eval = clusters.lines().find(|line| line.starts_with("eval ")).expect("lab.md takes the environment of the lab");
    reader.follows(&clusters.replace(eval, &environment)).await;

    let connect = section(&in_lab, "In the place of step 1")[0];
    reader.follows(&elsewhere(connect, folder.path())).await;
    for commands in section(&installing, "2.") {
        reader.follows(commands).await;
    }
    let (agents, spire) = (section(&installing, "3."), section(&in_lab, "Step 3")[0]);
    reader.follows(&agents[0].replacen("export SPIRE=none\n", spire, 1)).await;
    assert_eq!(reader.starts_pods().await, 3, "two agents and a gateway");
    reader.follows(agents[1]).await;
    for commands in section(&in_lab, "In the place of step 4") {
        reader.follows(commands).await;
    }
    let exporting = section(&installing, "5.");
    reader.follows(exporting[0]).await;
    assert_eq!(reader.starts_pods().await, 1, "the server");
    reader.sees(exporting[1]).await;
    let calling = section(&installing, "6.");
    reader.follows(calling[0]).await;
    assert_eq!(reader.starts_pods().await, 1, "the client");
    reader.sees(calling[1]).await;

    let start = Instant::now();
    while !reader.log_of("ping-pong-client-0", "client").contains("...pong from spiffe://a.example/ns/demo/sa/ping-pong-server") {
        assert!(start.elapsed() < PATIENCE, "no answer\n{}", reader.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    for commands in section(&installing, "Values, upgrades, removal") {
        reader.follows(commands).await;
    }
    // What istiod keeps in every namespace stays, and the processes of the pods know nothing of Helm.
    let left = "kubectl get all,configmaps,secrets --namespace cofide --context cluster-a --output name | grep cofide | grep -v ^pod/";
    assert_eq!(reader.shell.run(left).await.unwrap(), "", "nothing is left of the release");
}

/// What would be left in the checkout goes with the test.
fn elsewhere(commands: &str, folder: &Path) -> String {
    let folder = folder.display();
    commands.replace("$PWD/lab-connect", &format!("{folder}/lab-connect")).replace(" lab-connect", &format!(" {folder}/lab-connect"))
}
