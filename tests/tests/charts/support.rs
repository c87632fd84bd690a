//! Helm, and what it renders.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use cofide_testkit::lab;
use serde_json::Value;
use tokio::process::Command;

/// The charts, each with the namespace that it is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chart {
    Agent,
    Connect,
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "cofide-agent",
            Self::Connect => "cofide-connect",
        })
    }
}

/// Each chart with each of its values files.
pub(crate) const CASES: [(Chart, &str); 11] = [
    (Chart::Agent, "default"),
    (Chart::Agent, "joining"),
    (Chart::Agent, "everything"),
    (Chart::Agent, "least"),
    (Chart::Agent, "gateway"),
    (Chart::Agent, "socket"),
    (Chart::Agent, "crd"),
    (Chart::Agent, "mesh"),
    (Chart::Connect, "default"),
    (Chart::Connect, "everything"),
    (Chart::Connect, "postgres"),
];

pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

impl Chart {
    pub(crate) fn path(self) -> PathBuf {
        checkout().join("charts").join(self.to_string())
    }

    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::Agent => "cofide",
            Self::Connect => "connect",
        }
    }

    /// One of the values files beside this test.
    pub(crate) fn values(self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/charts/values/{self}-{name}.yaml"))
    }

    /// `helm template` as somebody installs it, with a values file; the error is what Helm says.
    pub(crate) async fn render(self, values: &Path) -> Result<String> {
        self.render_with(values, &[]).await
    }

    pub(crate) async fn render_with(self, values: &Path, flags: &[&str]) -> Result<String> {
        let (name, chart) = (self.to_string(), self.path());
        let mut arguments = vec!["template", &name, chart.to_str().unwrap(), "--namespace", self.namespace(), "--values"];
        arguments.push(values.to_str().unwrap());
        arguments.extend(flags);
        helm(&arguments).await
    }

    /// As [`Self::render`], with the values written here.
    pub(crate) async fn render_text(self, values: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), values)?;
        self.render(file.path()).await
    }

    pub(crate) async fn objects(self, values: &Path) -> Vec<Value> {
        objects(&self.render(values).await.unwrap())
    }
}

/// The documents of a rendered text.
pub(crate) fn objects(rendered: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(rendered).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The only one of its kind, or the one of this name.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Runs Helm with nothing of this machine's own settings.
pub(crate) async fn helm(arguments: &[&str]) -> Result<String> {
    let program = lab::install("helm").await?.join("helm");
    let home = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("HOME", home.path()).stdin(Stdio::null());
    let output = command.output().await.context("cannot run helm")?;
    let (said, error) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "helm {}: {said}{error}", arguments.join(" "));
    Ok(said)
}
