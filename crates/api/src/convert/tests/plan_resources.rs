use super::*;

fn plan_resources() -> [PlanResource; 5] {
    [
        PlanResource::Import(import()),
        PlanResource::Trust(trust()),
        PlanResource::Registration(registration(kinds()[0].clone())),
        PlanResource::Export(export()),
        PlanResource::ControlPlaneTrust(control_plane()),
    ]
}

#[test]
fn every_plan_resource_survives_the_wire_under_its_own_name_and_no_other() {
    for resource in plan_resources() {
        let type_url = plan_resource::type_url(&resource.key());
        let (name, body) = (plan_resource::name_of(&resource), plan_resource::encode(&resource));
        assert_eq!(plan_resource::known_type_url(type_url), Some(type_url));
        assert_eq!(plan_resource::name(&resource.key(), &control_plane().spiffe_id), name, "what is removed has the name of what was set");
        assert_eq!(plan_resource::decode(type_url, &name, &body).unwrap(), resource);
        let foreign = plan_resource::decode(type_url, "other", &body).unwrap_err().to_string();
        assert_eq!(foreign, format!("it is about {name}, not about what it is named after"));
    }
}

#[test]
fn a_plan_resource_of_no_known_type_and_one_that_is_no_message_are_refused() {
    let type_url = plan::IMPORTED_SERVICE.replace("Imported", "Rented");
    assert_eq!(plan_resource::known_type_url(&type_url), None);
    let refusal = |type_url: &str, body: &[u8]| plan_resource::decode(type_url, "x", body).unwrap_err().to_string();
    assert_eq!(refusal(&type_url, b""), format!("resources of type {type_url} are not known to this version"));
    let garbage = refusal(plan::IMPORTED_SERVICE, b"garbage");
    assert!(garbage.starts_with(&format!("not a {}: ", plan::IMPORTED_SERVICE)), "{garbage}");
}

#[test]
fn equal_plan_resources_have_equal_bytes() {
    let mut shuffled = import();
    shuffled.gateways.reverse();
    let through_the_wire = ImportedService::try_from(plan_proto::ImportedService::from(shuffled)).unwrap();
    assert_eq!(
        plan_proto::ImportedService::from(through_the_wire).encode_to_vec(),
        plan_proto::ImportedService::from(import()).encode_to_vec()
    );
}

#[test]
fn a_plan_resource_holds_one_trust_domain_only() {
    let foreign = |error: Result<(), FieldError>| error.unwrap_err().to_string();
    let mut message = plan_proto::FederatedTrust::from(trust());
    message.bundle = Some(bundle_for("b.test").into());
    assert_eq!(
        foreign(FederatedTrust::try_from(message).map(drop)),
        "federated_trust.bundle.trust_domain: the bundle is for b.test, expected a.test"
    );
    let mut message = plan_proto::ControlPlaneTrust::from(control_plane());
    message.bundle = Some(bundle_for("a.test").into());
    assert_eq!(
        foreign(ControlPlaneTrust::try_from(message).map(drop)),
        "control_plane_trust.bundle.trust_domain: the bundle is for a.test, expected management.local"
    );
}
