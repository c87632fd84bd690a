//! The plan on disk.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cofide_api::{convert::plan as wire, plan as proto};
use cofide_plan::PlanResource;
use cofide_runtime::files::FileError;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::{Held, Plan, known_type, type_of};
use crate::state::DataFolder;

const NAME: &str = "plan";

/// Reads and writes the plan in the data folder.
#[derive(Clone, Copy, Debug)]
pub struct PlanStore<'a>(pub &'a DataFolder);

/// The plan in its kept form: each resource in its wire form, as Connect sent it.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredPlan {
    known: Vec<String>,
    resources: Vec<StoredResource>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredResource {
    type_url: String,
    name: String,
    version: String,
    acknowledged: bool,
    /// The message, base64.
    body: String,
}

impl PlanStore<'_> {
    /// The last plan; an empty one, of which nothing is known, where there is none. A resource that cannot be read any
    /// more is left out and its type counts as unknown: Connect sends it again, and until then nothing is taken down.
    pub fn load(self) -> Result<Plan, FileError> {
        let Some(stored) = self.0.load::<StoredPlan>(NAME)? else { return Ok(Plan::default()) };
        let mut plan = Plan { known: stored.known.iter().filter_map(|type_url| known_type(type_url)).collect(), ..Plan::default() };
        for StoredResource { type_url, name, version, acknowledged, body } in stored.resources {
            let Some(type_url) = known_type(&type_url) else { continue };
            match STANDARD.decode(body).map_err(|error| error.to_string()).and_then(|body| decode(type_url, &body)) {
                Ok(resource) => {
                    plan.resources.insert((type_url, name), Held { version, resource, acknowledged });
                }
                Err(reason) => {
                    tracing::warn!(type_url, name, reason, "a resource of the kept plan cannot be read and is fetched again");
                    plan.known.remove(type_url);
                }
            }
        }
        Ok(plan)
    }

    pub fn save(self, plan: &Plan) -> Result<(), FileError> {
        let resources = plan.resources.iter().map(|((type_url, name), held)| StoredResource {
            type_url: (*type_url).to_owned(),
            name: name.clone(),
            version: held.version.clone(),
            acknowledged: held.acknowledged,
            body: STANDARD.encode(encode(&held.resource)),
        });
        let known = plan.known.iter().map(|type_url| (*type_url).to_owned()).collect();
        self.0.save(NAME, &StoredPlan { known, resources: resources.collect() })
    }
}

fn encode(resource: &PlanResource) -> Vec<u8> {
    match resource {
        PlanResource::Import(import) => proto::ImportedService::from(import).encode_to_vec(),
        PlanResource::Trust(trust) => proto::FederatedTrust::from(trust).encode_to_vec(),
        PlanResource::Registration(registration) => proto::WorkloadRegistration::from(registration).encode_to_vec(),
        PlanResource::Export(export) => proto::ExportedService::from(export).encode_to_vec(),
        PlanResource::ControlPlaneTrust(trust) => proto::ControlPlaneTrust::from(trust).encode_to_vec(),
    }
}

fn decode(type_url: &str, body: &[u8]) -> Result<PlanResource, String> {
    fn of<M, N>(body: &[u8], resource: impl FnOnce(N) -> PlanResource) -> Result<PlanResource, String>
    where
        M: Message + Default,
        N: TryFrom<M, Error: std::fmt::Display>,
    {
        let message = M::decode(body).map_err(|error| error.to_string())?;
        N::try_from(message).map(resource).map_err(|error| error.to_string())
    }
    let resource = match type_url {
        wire::IMPORTED_SERVICE => of::<proto::ImportedService, _>(body, PlanResource::Import),
        wire::FEDERATED_TRUST => of::<proto::FederatedTrust, _>(body, PlanResource::Trust),
        wire::WORKLOAD_REGISTRATION => of::<proto::WorkloadRegistration, _>(body, PlanResource::Registration),
        wire::EXPORTED_SERVICE => of::<proto::ExportedService, _>(body, PlanResource::Export),
        wire::CONTROL_PLANE_TRUST => of::<proto::ControlPlaneTrust, _>(body, PlanResource::ControlPlaneTrust),
        other => Err(format!("no plan has resources of type {other}")),
    }?;
    debug_assert_eq!(type_of(&resource), type_url);
    Ok(resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_connect_client::{PlanChanges, PlanReceipt, ReceivedPlanResource};
    use cofide_core::{ExportTarget, ExportedService, ImportedService, Port, TlsMode, TrustDomain};

    fn import(name: &str, port: i64) -> PlanResource {
        PlanResource::Import(ImportedService {
            hostname: name.parse().unwrap(),
            port: Port::try_from(port).unwrap(),
            tls_mode: TlsMode::IstioMtls,
            trust_domain: TrustDomain::new("a.test").unwrap(),
            spiffe_id_paths: vec!["/ns/demo/sa/server".parse().unwrap()],
            gateways: vec![],
        })
    }

    fn change(set: Vec<(&str, &str, PlanResource)>, removed: &[&str]) -> PlanChanges {
        let received = |(name, version, resource): (&str, &str, PlanResource)| ReceivedPlanResource {
            name: name.to_owned(),
            version: version.to_owned(),
            resource,
        };
        PlanChanges {
            type_url: wire::IMPORTED_SERVICE,
            set: set.into_iter().map(received).collect(),
            removed: removed.iter().map(|&name| name.to_owned()).collect(),
            completes: true,
            receipt: PlanReceipt::default(),
        }
    }

    #[test]
    fn a_restarted_agent_knows_what_the_one_before_knew() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        let mut plan = PlanStore(&data).load().unwrap();
        assert!(!plan.is_known(wire::IMPORTED_SERVICE), "an agent that was never told anything does not take it for nothing");
        plan.apply(&change(
            vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1)), ("y.demo.a.test", "v1", import("y.demo.a.test", 1))],
            &[],
        ));
        plan.acknowledge(wire::IMPORTED_SERVICE, [("x.demo.a.test", "v1"), ("y.demo.a.test", "another")]);
        PlanStore(&data).save(&plan).unwrap();

        let read = PlanStore(&data).load().unwrap();
        assert_eq!(read, Plan { revision: 0, ..plan });
        assert!(read.is_known(wire::IMPORTED_SERVICE));
        assert!(!read.is_known(wire::FEDERATED_TRUST));
        let resumed = &read.versions()[wire::IMPORTED_SERVICE];
        assert_eq!(resumed.keys().collect::<Vec<_>>(), ["x.demo.a.test"], "what has no receipt comes again");
    }

    #[test]
    fn a_resource_that_cannot_be_read_makes_its_type_unknown_and_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        let mut plan = Plan::default();
        plan.apply(&change(vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1))], &[]));
        PlanStore(&data).save(&plan).unwrap();
        let mut stored = data.load::<StoredPlan>(NAME).unwrap().unwrap();
        let good = stored.resources[0].body.clone();
        let bad = StoredResource { name: "bad".into(), body: "!".into(), ..stored.resources.remove(0) };
        stored.resources = vec![
            bad,
            StoredResource {
                type_url: wire::IMPORTED_SERVICE.into(),
                name: "x.demo.a.test".into(),
                version: "v1".into(),
                acknowledged: true,
                body: good,
            },
        ];
        data.save(NAME, &stored).unwrap();
        let read = PlanStore(&data).load().unwrap();
        assert_eq!(read.imports().count(), 1);
        assert!(!read.is_known(wire::IMPORTED_SERVICE));
    }

    #[test]
    fn only_a_difference_in_content_is_a_change() {
        let mut plan = Plan::default();
        assert!(plan.apply(&change(vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1))], &[])));
        assert!(!plan.apply(&change(vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1))], &["unknown"])));
        assert!(plan.apply(&change(vec![("x.demo.a.test", "v2", import("x.demo.a.test", 2))], &[])));
        assert!(plan.apply(&change(vec![], &["x.demo.a.test"])));
        assert_eq!(plan.imports().count(), 0);
    }

    #[test]
    fn what_went_while_nobody_told_connect_that_it_was_held_is_noticed() {
        let mut plan = Plan::default();
        let both = vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1)), ("y.demo.a.test", "v1", import("y.demo.a.test", 1))];
        plan.apply(&change(both, &[]));
        plan.acknowledge(wire::IMPORTED_SERVICE, [("x.demo.a.test", "v1")]);
        // The stream breaks before y is acknowledged, and y goes meanwhile. Connect resumes from x alone.
        plan.begin_stream();
        let partly = PlanChanges { completes: false, ..change(vec![("z.demo.a.test", "v1", import("z.demo.a.test", 1))], &[]) };
        plan.apply(&partly);
        assert_eq!(plan.imports().count(), 3, "it may still come");
        assert!(plan.apply(&change(vec![], &[])));
        let left: Vec<_> = plan.imports().map(|import| import.hostname.to_string()).collect();
        assert_eq!(left, ["x.demo.a.test", "z.demo.a.test"]);
    }

    #[test]
    fn the_targets_of_a_service_are_unknown_until_connect_has_said_them() {
        let mut plan = Plan::default();
        let id = "one".parse().unwrap();
        assert_eq!(plan.targets(&id), None);
        let targets = vec![ExportTarget { trust_domain: "b.test".into(), refusal: None }];
        let export = ExportedService { service_id: id.clone(), hostname: "x.demo.a.test".parse().unwrap(), targets: targets.clone() };
        let told = change(vec![("one", "v1", PlanResource::Export(export))], &[]);
        plan.apply(&PlanChanges { type_url: wire::EXPORTED_SERVICE, ..told });
        assert_eq!(plan.targets(&id), Some(targets.as_slice()));
    }
}
