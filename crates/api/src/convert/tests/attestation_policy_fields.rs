use super::*;

#[test]
fn a_bad_policy_is_told_which_field() {
    use types::attestation_policy::{AttestationPolicy as Wire, attestation_policy::Policy};
    let [kubernetes, unix, tpm] = kinds();
    let error = |kind: &PolicyKind, spoil: fn(&mut Policy)| {
        refusal(
            policy(kind.clone()),
            |message| attestation_policy::Draft::try_from(message),
            |message: &mut Wire| spoil(message.policy.as_mut().unwrap()),
        )
    };
    macro_rules! spoil {
        ($variant:ident, $field:ident => $change:expr) => {
            |policy| {
                let Policy::$variant($field) = policy else { unreachable!() };
                $change
            }
        };
    }
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.selectors.clear())),
        "attestation_policy.static.selectors: must not be empty: the policy would match every process"
    );
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.parent_id_path = None)),
        "attestation_policy.static.parent_id_path: must be set"
    );
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.selectors[0].value.clear())),
        "attestation_policy.static.selectors[0].value: must not be empty"
    );
    assert_eq!(
        error(
            &unix,
            spoil!(Static, policy => policy.selectors[0] = spire::types::Selector { r#type: "unix".into(), value: "uuid:1000".into() })
        ),
        "attestation_policy.static.selectors[0].value: unix selectors have no key \"uuid\"; did you mean unix:uid:1000?"
    );
    assert_eq!(
        error(&unix, spoil!(Static, policy => policy.dns_names[0] = "a..b".into())),
        "attestation_policy.static.dns_names[0]: contains an empty label (two dots in a row, or a dot at an end)"
    );
    assert_eq!(
        error(&kubernetes, spoil!(Kubernetes, policy => policy.pod_selector.as_mut().unwrap().match_expressions[0].operator = "Is".into())),
        "attestation_policy.kubernetes.pod_selector.match_expressions[0].operator: unknown operator \"Is\"; use In, NotIn, Exists or DoesNotExist"
    );
    assert_eq!(
        error(&kubernetes, spoil!(Kubernetes, policy => policy.pod_selector.as_mut().unwrap().match_expressions[0].values.clear())),
        "attestation_policy.kubernetes.pod_selector.match_expressions[0].values: In needs at least one"
    );
    assert_eq!(
        error(&tpm, spoil!(TpmNode, policy => policy.attestation.as_mut().unwrap().ek_hash = Some("AB".into()))),
        "attestation_policy.tpm_node.attestation.ek_hash: must be 64 lower-case hexadecimal digits, the SHA-256 of the endorsement key"
    );
    assert_eq!(
        refusal(policy(unix), |message| attestation_policy::Draft::try_from(message), |message: &mut Wire| message.policy = None),
        "attestation_policy.policy: one of kubernetes, static and tpm_node must be set"
    );
}

#[test]
fn a_selector_of_a_type_that_is_not_known_is_accepted_and_a_stored_policy_stays_readable() {
    let with = |kind: &str, value: &str| {
        let mut message = types::attestation_policy::AttestationPolicy::from(policy(kinds()[1].clone()));
        let Some(types::attestation_policy::attestation_policy::Policy::Static(policy)) = &mut message.policy else { unreachable!() };
        policy.selectors[0] = spire::types::Selector { r#type: kind.into(), value: value.into() };
        message
    };
    attestation_policy::Draft::try_from(&with("docker", "label:com.example:x")).expect("attestors are plugins");
    AttestationPolicy::try_from(with("unix", "uuid:1000")).expect("a policy from before the rule is read all the same");
}

#[test]
#[allow(deprecated)]
fn the_older_form_of_a_static_policy_is_read() {
    let mut message = types::attestation_policy::AttestationPolicy::from(policy(kinds()[1].clone()));
    let Some(types::attestation_policy::attestation_policy::Policy::Static(policy)) = &mut message.policy else { unreachable!() };
    policy.spiffe_id_path = None;
    policy.spiffe_id = Some("spiffe://a.test/ns/demo/sa/server".into());
    policy.parent_id_path = Some("spire/agent/x".into());
    let draft = attestation_policy::Draft::try_from(&message).unwrap();
    let PolicyKind::Static(policy) = draft.kind else { unreachable!() };
    assert_eq!((policy.spiffe_id_path.as_str(), policy.parent_id_path.as_str()), ("/ns/demo/sa/server", "/spire/agent/x"));
}
