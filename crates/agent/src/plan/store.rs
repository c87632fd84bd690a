//! The plan on disk.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cofide_api::convert::plan_resource;
use cofide_runtime::files::FileError;
use serde::{Deserialize, Serialize};

use super::{Held, Plan, Told};
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
        let mut plan =
            Plan { known: stored.known.iter().filter_map(|type_url| plan_resource::known_type_url(type_url)).collect(), ..Plan::default() };
        for StoredResource { type_url, name, version, acknowledged, body } in stored.resources {
            let Some(type_url) = plan_resource::known_type_url(&type_url) else { continue };
            let body = STANDARD.decode(body).map_err(|error| error.to_string());
            match body.and_then(|body| plan_resource::decode(type_url, &name, &body).map_err(|error| error.to_string())) {
                Ok(resource) => {
                    let told = if acknowledged { Told::InEffect } else { Told::Nothing };
                    plan.resources.insert((type_url, name), Held { version, resource, told });
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
            acknowledged: held.told == Told::InEffect,
            body: STANDARD.encode(plan_resource::encode(&held.resource)),
        });
        let known = plan.known.iter().map(|type_url| (*type_url).to_owned()).collect();
        self.0.save(NAME, &StoredPlan { known, resources: resources.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_api::convert::plan as wire;
    use cofide_connect_client::{PlanChanges, PlanReceipt, ReceivedPlanResource};
    use cofide_core::{ExportTarget, ExportedService, ImportedService, TlsMode};
    use cofide_plan::PlanResource;
    use cofide_test_objects as objects;

    fn import(name: &str, port: i64) -> PlanResource {
        PlanResource::Import(ImportedService {
            port: objects::port(port),
            tls_mode: TlsMode::IstioMtls,
            spiffe_id_paths: vec![objects::id("/ns/demo/sa/server")],
            ..objects::imported_service(name, &[])
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
        plan.acknowledge(wire::IMPORTED_SERVICE, Told::InEffect, [("x.demo.a.test", "v1"), ("y.demo.a.test", "another")]);
        PlanStore(&data).save(&plan).unwrap();

        let read = PlanStore(&data).load().unwrap();
        assert_eq!(read, Plan { revision: 0, ..plan });
        assert!(read.is_known(wire::IMPORTED_SERVICE));
        assert!(!read.is_known(wire::FEDERATED_TRUST));
        let resumed = &read.versions(&[])[wire::IMPORTED_SERVICE];
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
    fn a_resource_that_is_not_about_what_it_is_named_after_is_not_taken_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        let mut plan = Plan::default();
        plan.apply(&change(vec![("other.demo.a.test", "v1", import("x.demo.a.test", 1))], &[]));
        PlanStore(&data).save(&plan).unwrap();
        let read = PlanStore(&data).load().unwrap();
        assert_eq!((read.imports().count(), read.is_known(wire::IMPORTED_SERVICE)), (0, false));
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
    fn a_type_is_known_when_all_of_it_was_told_and_not_with_its_first_part() {
        let mut plan = Plan::default();
        let first = change(vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1))], &[]);
        assert!(plan.apply(&PlanChanges { completes: false, ..first }));
        assert_eq!((plan.imports().count(), plan.is_known(wire::IMPORTED_SERVICE)), (1, false));
        let last = change(vec![("y.demo.a.test", "v1", import("y.demo.a.test", 1))], &[]);
        assert!(plan.apply(&last));
        assert_eq!((plan.imports().count(), plan.is_known(wire::IMPORTED_SERVICE)), (2, true));
        assert!(!plan.is_known(wire::FEDERATED_TRUST));

        let mut plan = Plan::default();
        plan.apply(&PlanChanges { completes: false, ..change(vec![], &[]) });
        assert!(!plan.is_known(wire::IMPORTED_SERVICE));
        assert!(plan.apply(&change(vec![], &[])), "that there is nothing is news");
        assert!(plan.is_known(wire::IMPORTED_SERVICE));
    }

    #[test]
    fn what_went_while_nobody_told_connect_that_it_was_held_is_noticed() {
        let mut plan = Plan::default();
        let both = vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1)), ("y.demo.a.test", "v1", import("y.demo.a.test", 1))];
        plan.apply(&change(both, &[]));
        plan.acknowledge(wire::IMPORTED_SERVICE, Told::InEffect, [("x.demo.a.test", "v1")]);
        // The stream breaks before y is acknowledged, and y goes meanwhile. Connect resumes from x alone.
        plan.begin_stream(&[]);
        let partly = PlanChanges { completes: false, ..change(vec![("z.demo.a.test", "v1", import("z.demo.a.test", 1))], &[]) };
        plan.apply(&partly);
        assert_eq!(plan.imports().count(), 3, "it may still come");
        assert!(plan.apply(&change(vec![], &[])));
        let left: Vec<_> = plan.imports().map(|import| import.hostname.to_string()).collect();
        assert_eq!(left, ["x.demo.a.test", "z.demo.a.test"]);
    }

    #[test]
    fn what_an_agent_merely_held_comes_again_when_it_is_to_put_it_in_effect() {
        let standby = [wire::IMPORTED_SERVICE];
        let mut plan = Plan::default();
        plan.apply(&change(vec![("x.demo.a.test", "v1", import("x.demo.a.test", 1))], &[]));
        plan.acknowledge(wire::IMPORTED_SERVICE, Told::Held, [("x.demo.a.test", "v1")]);
        assert!(plan.versions(&standby).contains_key(wire::IMPORTED_SERVICE), "and not as long as it is not");
        assert!(plan.versions(&[]).is_empty());

        // It leads, and ceases to.
        plan.acknowledge(wire::IMPORTED_SERVICE, Told::InEffect, [("x.demo.a.test", "v1")]);
        assert!(plan.versions(&[]).contains_key(wire::IMPORTED_SERVICE));
        plan.stand_by(&standby);
        assert!(plan.versions(&standby).contains_key(wire::IMPORTED_SERVICE));
        assert!(plan.versions(&[]).is_empty(), "the agent that leads now may have said something else");
    }

    #[test]
    fn the_targets_of_a_service_are_unknown_until_connect_has_said_them() {
        let mut plan = Plan::default();
        let id = "one".parse().unwrap();
        assert_eq!(plan.targets(&id), None);
        let targets = vec![ExportTarget { trust_domain: objects::domain("b.test"), refusal: None }];
        let export = ExportedService { service_id: id.clone(), hostname: "x.demo.a.test".parse().unwrap(), targets: targets.clone() };
        let told = change(vec![("one", "v1", PlanResource::Export(export))], &[]);
        plan.apply(&PlanChanges { type_url: wire::EXPORTED_SERVICE, ..told });
        assert_eq!(plan.targets(&id), Some(targets.as_slice()));
    }
}
