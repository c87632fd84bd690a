//! Writing objects of any kind, as `kubectl apply --server-side` does.

use anyhow::{Context, Result, ensure};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{ApiCapabilities, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;

use super::Cluster;

/// Whom the API server takes for the author of what a test writes.
const FIELD_MANAGER: &str = "lab";

impl Cluster {
    /// Applies the documents of a YAML text, one after the other.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<()> {
        let client = self.client()?;
        for document in documents(yaml)? {
            apply(&client, &document).await?;
        }
        Ok(())
    }

    /// Applies one object.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        apply(&self.client()?, object).await
    }

    /// Deletes what a YAML text names; what is not there is no error.
    pub async fn delete_yaml(&self, yaml: &str) -> Result<()> {
        let client = self.client()?;
        for document in documents(yaml)? {
            let (api, name) = find(&client, &document).await?;
            match api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => drop(other.with_context(|| described(&document))?),
            }
        }
        Ok(())
    }

    /// Reads an object; `None` where it does not exist.
    pub async fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<DynamicObject>> {
        let meta = serde_json::json!({ "namespace": namespace, "name": name });
        let document = serde_json::json!({ "apiVersion": api_version, "kind": kind, "metadata": meta });
        let (api, name) = find(&self.client()?, &document).await?;
        Ok(api.get_opt(&name).await?)
    }
}

/// The text comes from the test or from a part of the lab, so it may be as large as it is.
fn documents(yaml: &str) -> Result<Vec<Value>> {
    let options = serde_saphyr::options! { budget: None };
    serde_saphyr::from_multiple_with_options(yaml, options).context("the text is not YAML")
}

pub(super) async fn apply(client: &Client, object: &Value) -> Result<()> {
    let (api, name) = find(client, object).await?;
    let applied = api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await;
    applied.map(drop).with_context(|| format!("cannot apply {}", described(object)))
}

/// Where objects like this one live, and its name.
async fn find(client: &Client, object: &Value) -> Result<(Api<DynamicObject>, String)> {
    let types: TypeMeta = serde_json::from_value(object.clone()).context("the object has no apiVersion or no kind")?;
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().with_context(|| format!("{} has no name", described(object)))?;
    let kind = GroupVersionKind::try_from(&types)?;
    let (resource, capabilities) = pinned_kind(client, &kind).await.with_context(|| format!("the cluster has no {}", types.kind))?;
    Ok((api(client, &resource, &capabilities, metadata["namespace"].as_str())?, name.to_owned()))
}

fn api(client: &Client, resource: &ApiResource, of: &ApiCapabilities, namespace: Option<&str>) -> Result<Api<DynamicObject>> {
    match of.scope {
        Scope::Namespaced => Ok(Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), resource)),
        Scope::Cluster => {
            ensure!(namespace.is_none_or(str::is_empty), "{} is not of a namespace", resource.kind);
            Ok(Api::all_with(client.clone(), resource))
        }
    }
}

fn described(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    format!("{} {}/{}", text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
}
