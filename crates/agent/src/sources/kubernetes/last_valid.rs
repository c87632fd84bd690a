//! The last valid versions of objects that are not valid now, over a restart.
//!
//! A version that is not valid leaves the one before in force, and a restart of the agent must not change that: what would be
//! withdrawn is somebody's service. There are few of them, for the definition refuses most mistakes before they are stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofide_core::TrustDomain;
use cofide_k8s_api::{FederatedService, FederatedServiceSpec, ServiceSpec};
use cofide_runtime::files::FileError;

use super::records::ServiceObjectRecord;
use crate::state::{DataFolder, LAST_VALID};

/// By uid, in the form in which an owner writes it.
type Specs = BTreeMap<String, FederatedServiceSpec>;

#[derive(Debug)]
pub struct LastValid {
    data: Arc<DataFolder>,
    specs: Mutex<Specs>,
}

impl LastValid {
    pub fn open(data: Arc<DataFolder>) -> Result<Self, FileError> {
        let specs = Mutex::new(data.load(LAST_VALID)?.unwrap_or_default());
        Ok(Self { data, specs })
    }

    /// What was valid of the object with this uid.
    pub fn recall(&self, uid: &str, own: &TrustDomain) -> Option<ServiceSpec> {
        let spec = self.specs.lock().unwrap_or_else(PoisonError::into_inner).get(uid)?.clone();
        let mut object = FederatedService { spec, ..FederatedService::default() };
        // Its real name was checked when it was stored.
        object.metadata.name = "recalled".to_owned();
        object.check(own).ok()
    }

    /// Remembers those of these objects that need it, and no others.
    pub fn keep<'a>(&self, objects: impl IntoIterator<Item = &'a ServiceObjectRecord>) -> Result<(), FileError> {
        let in_need = objects.into_iter().filter(|object| !object.problems.is_empty());
        let specs: Specs = in_need.filter_map(|object| Some((object.uid.clone(), written(object.valid.as_ref()?)))).collect();
        let mut kept = self.specs.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept != specs {
            self.data.save(LAST_VALID, &specs)?;
            *kept = specs;
        }
        Ok(())
    }
}

/// As an owner would write it.
fn written(spec: &ServiceSpec) -> FederatedServiceSpec {
    FederatedServiceSpec {
        name: spec.name.name.to_string(),
        namespace: spec.name.namespace.to_string(),
        exported_trust_domains: spec.exported_trust_domains.iter().map(ToString::to_string).collect(),
        workload_labels: spec.workload_labels.clone(),
        port: spec.port.get().into(),
        tls_mode: spec.tls_mode.to_string(),
        spiffe_id_paths: spec.spiffe_id_paths.iter().map(|path| path.as_str().to_owned()).collect(),
        gateways: spec.gateways.iter().map(Into::into).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_k8s_api::testdata;
    use serde_json::json;

    #[test]
    fn what_was_in_force_before_a_restart_is_recalled_as_long_as_it_is_needed() {
        let own = TrustDomain::new(testdata::TRUST_DOMAIN).unwrap();
        let record = |change: serde_json::Value, before: Option<&ServiceObjectRecord>| {
            let mut object = testdata::federated_service();
            object["metadata"]["uid"] = json!("u");
            object["spec"]["spiffeIDPaths"] = json!(["ns/demo/sa/server"]);
            object["spec"]["gateways"] = json!([{ "type": "istio-ingressgateway", "port": 443, "ip": "2001:db8::1" }]);
            object["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            ServiceObjectRecord::new(&serde_json::from_value(object).unwrap(), &own, before)
        };
        let valid = record(json!({}), None);
        let broken = record(json!({ "port": 0 }), Some(&valid));
        let folder = tempfile::tempdir().unwrap();
        let data = Arc::new(DataFolder::open(folder.path()).unwrap());
        let memory = LastValid::open(data.clone()).unwrap();
        memory.keep([&valid]).unwrap();
        assert!(!data.has_held(LAST_VALID), "what is valid needs no memory");
        memory.keep([&broken]).unwrap();

        let memory = LastValid::open(data).unwrap();
        assert_eq!(memory.recall("u", &own), valid.valid);
        assert_eq!(memory.recall("another", &own), None);
        memory.keep([&valid]).unwrap();
        assert_eq!(memory.recall("u", &own), None);
    }
}
