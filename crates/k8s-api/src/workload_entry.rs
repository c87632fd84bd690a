//! `networking.istio.io` WorkloadEntry: where a workload listens that no pod describes.

use std::collections::BTreeMap;

use cofide_core::{GatewayAddress, GatewayError, Port};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ObjectMeta;
use crate::federated_service::label_problem;
use crate::fields::{Field, Fields, Read, map};
use crate::problem::{Problem, merge};

/// Istio's three versions have the same shape; the first is written, all are read.
pub const API_VERSIONS: [&str; 3] = ["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"];
pub const KIND: &str = "WorkloadEntry";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadEntry {
    pub metadata: ObjectMeta,
    pub spec: WorkloadEntrySpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntrySpec {
    /// An IP address or a DNS name.
    pub address: String,
    /// Port numbers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, i32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub locality: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account: String,
}

/// A workload and where it listens, as a valid WorkloadEntry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub namespace: String,
    pub name: String,
    pub address: GatewayAddress,
    /// Empty where the workload listens on the port of its service.
    pub ports: BTreeMap<String, Port>,
    pub labels: BTreeMap<String, String>,
}

impl WorkloadEntry {
    pub(crate) fn read(value: &Value) -> Read<Self> {
        let mut problems = Vec::new();
        let in_spec = ["address", "ports", "network", "locality", "weight", "serviceAccount"].map(|field| (field, "spec"));
        let elsewhere: Vec<_> = [("name", "metadata"), ("namespace", "metadata")].into_iter().chain(in_spec).collect();
        let object = map(value, "", &mut problems, &elsewhere, |fields| {
            fields.ignore("apiVersion");
            fields.ignore("kind");
            let object = Self { metadata: fields.get("metadata"), spec: fields.get("spec") };
            fields.ignore("status");
            object
        });
        Read { object, problems }
    }

    /// The workload, or everything that is wrong with its description.
    pub fn check(&self) -> Result<Workload, Vec<Problem>> {
        let mut problems = Vec::new();
        self.metadata.check(&mut problems);
        let address = self.spec.check_address(&mut problems);
        let mut ports = BTreeMap::new();
        for (name, port) in &self.spec.ports {
            match Port::try_from(i64::from(*port)) {
                Ok(port) => drop(ports.insert(name.clone(), port)),
                Err(error) => problems.push(Problem::new(format!("spec.ports[{name:?}]"), error)),
            }
        }
        for (key, value) in &self.spec.labels {
            if let Some(reason) = label_problem(key, value) {
                problems.push(Problem::new(format!("spec.labels[{key:?}]"), reason));
            }
        }
        match address {
            Some(address) if problems.is_empty() => Ok(Workload {
                namespace: self.metadata.namespace.clone(),
                name: self.metadata.name.clone(),
                address,
                ports,
                labels: self.spec.labels.clone(),
            }),
            _ => Err(problems),
        }
    }
}

impl Read<WorkloadEntry> {
    /// As [`WorkloadEntry::check`], with what was wrong about the object's form.
    pub fn check(&self) -> Result<Workload, Vec<Problem>> {
        match (self.object.check(), self.problems.as_slice()) {
            (Ok(workload), []) => Ok(workload),
            (Ok(_), form) => Err(form.to_vec()),
            (Err(meaning), form) => Err(merge(form, meaning)),
        }
    }
}

impl WorkloadEntrySpec {
    fn check_address(&self, problems: &mut Vec<Problem>) -> Option<GatewayAddress> {
        let problem = |reason: String| Problem::new("spec.address", reason);
        let remedy = "write the IP address or the DNS name at which the workload listens";
        let address = match self.address.as_str() {
            "" => Err(problem("must be set".to_owned()).remedy(remedy)),
            unix if unix.starts_with("unix://") => {
                Err(problem("a Unix socket cannot be reached through a gateway".to_owned()).remedy(remedy))
            }
            ip if ip.parse::<std::net::IpAddr>().is_ok() => GatewayAddress::from_fields("", ip).map_err(|error| problem(error.to_string())),
            name => GatewayAddress::from_fields(name, "").map_err(|error| match error {
                GatewayError::Hostname(name, reason) => problem(format!("{name:?} is no IP address, and as a DNS name it {reason}")),
                other => problem(other.to_string()),
            }),
        };
        address.map_err(|problem| problems.push(problem)).ok()
    }
}

impl Field for WorkloadEntrySpec {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        map(value, path, problems, &[], |fields: &mut Fields<'_>| Self {
            address: fields.get("address"),
            ports: fields.get("ports"),
            labels: fields.get("labels"),
            network: fields.get("network"),
            locality: fields.get("locality"),
            weight: fields.get("weight"),
            service_account: fields.get("serviceAccount"),
        })
    }
}
