use super::*;

#[test]
fn every_noun_survives_the_wire() {
    travels::<_, types::organization::Organization>(Organization { id: "org-1".parse().unwrap(), name: "default".parse().unwrap() });
    travels::<_, types::trust_zone::TrustZone>(trust_zone());
    travels::<_, types::cluster::Cluster>(cluster());
    travels::<_, types::federation::Federation>(federation());
    travels::<_, types::ap_binding::ApBinding>(binding());
    travels::<_, types::agent::AgentStatus>(AgentStatus {
        state: AgentState::Error,
        message: "no SVID".into(),
        unmet_conditions: vec![UnmetCondition {
            hostname: "server.demo.a.test".parse().unwrap(),
            kind: ConditionKind::BackendsReady,
            reason: "NoWorkload".into(),
            message: "no WorkloadEntry carries the labels".into(),
        }],
        updated_at: Timestamp::from_seconds(1_700_000_000),
    });
    for kind in kinds() {
        travels::<_, types::attestation_policy::AttestationPolicy>(policy(kind.clone()));
        travels::<_, plan_proto::WorkloadRegistration>(registration(kind));
    }
    travels::<_, spire::types::Bundle>(bundle_for("a.test"));
    travels::<_, plan_proto::ImportedService>(import());
    travels::<_, plan_proto::FederatedTrust>(trust());
    travels::<_, plan_proto::FederatedTrust>(FederatedTrust { bundle: None, bundle_endpoint: None, ..trust() });
    travels::<_, plan_proto::ExportedService>(export());
    travels::<_, plan_proto::ControlPlaneTrust>(control_plane());
}

#[test]
fn a_registered_service_arrives_as_it_was_sent() {
    let draft = federated_service::Draft::try_from(&federated_service()).unwrap();
    assert_eq!(draft.name.to_string(), "demo/server");
    assert_eq!(draft.exported_trust_domains, [domain("b.test"), domain("c.test")]);
    assert_eq!(draft.gateway_specs, gateways(), "in their one order");
    assert_eq!(draft.tls_mode, TlsMode::IstioMtls);
    assert_eq!(draft.trust_domain, Some(domain("a.test")));
}

#[test]
fn times_keep_their_microseconds() {
    for time in [CREATED, Timestamp(-1), Timestamp(0), Timestamp(-1_500_000)] {
        assert_eq!(from_timestamp(&timestamp(time)), time);
    }
    assert_eq!(from_timestamp(&prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX }), Timestamp(i64::MAX));
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let messages = [
        format!("{:?}", crate::connect::agent_service::CreateAgentJoinTokenResponse { agent_token: Some("hush".into()) }),
        format!("{:?}", crate::connect::trust_zone_service::RegisterAgentRequest { agent_token: "hush".into(), ..Default::default() }),
        format!("{:?}", crate::workload::X509svid { x509_svid_key: b"hush".to_vec(), ..Default::default() }),
        format!("{:?}", crate::workload::Jwtsvid { svid: "hush".into(), ..Default::default() }),
        format!("{:?}", crate::workload::ValidateJwtsvidRequest { svid: "hush".into(), ..Default::default() }),
    ];
    let as_bytes = format!("{:?}", b"hush");
    for printed in messages {
        assert!(!printed.contains("hush") && !printed.contains(&as_bytes), "{printed}");
    }
}

/// Decodes a damaged encoding; what decodes is converted, and what converts stays what it is when it goes round again.
fn survives<N, M>(good: N, damage: &[(usize, u8)]) -> Result<(), TestCaseError>
where
    N: PartialEq + std::fmt::Debug + TryFrom<M, Error = FieldError> + Clone,
    M: Message + Default + From<N>,
{
    let mut bytes = M::from(good).encode_to_vec();
    for (place, byte) in damage {
        let place = place % bytes.len();
        bytes[place] = *byte;
    }
    let Ok(message) = M::decode(bytes.as_slice()) else { return Ok(()) };
    let Ok(noun) = N::try_from(message) else { return Ok(()) };
    prop_assert_eq!(N::try_from(M::from(noun.clone())), Ok(noun));
    Ok(())
}

proptest! {
    #[test]
    fn damaged_messages_never_panic(damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6), kind in 0..3_usize) {
        survives::<_, types::trust_zone::TrustZone>(trust_zone(), &damage)?;
        survives::<_, types::cluster::Cluster>(cluster(), &damage)?;
        survives::<_, types::federation::Federation>(federation(), &damage)?;
        survives::<_, types::ap_binding::ApBinding>(binding(), &damage)?;
        survives::<_, types::attestation_policy::AttestationPolicy>(policy(kinds()[kind].clone()), &damage)?;
        survives::<_, spire::types::Bundle>(bundle_for("a.test"), &damage)?;
        survives::<_, plan_proto::ImportedService>(import(), &damage)?;
        survives::<_, plan_proto::FederatedTrust>(trust(), &damage)?;
        survives::<_, plan_proto::WorkloadRegistration>(registration(kinds()[kind].clone()), &damage)?;
        survives::<_, plan_proto::ExportedService>(export(), &damage)?;
        survives::<_, plan_proto::ControlPlaneTrust>(control_plane(), &damage)?;

        let mut bytes = federated_service().encode_to_vec();
        for (place, byte) in &damage {
            let place = place % bytes.len();
            bytes[place] = *byte;
        }
        if let Ok(message) = types::federated_service::FederatedService::decode(bytes.as_slice()) {
            let _ = federated_service::Draft::try_from(&message);
        }
    }

    #[test]
    fn any_time_is_a_time(seconds in any::<i64>(), nanos in any::<i32>(), micros in any::<i64>()) {
        from_timestamp(&prost_types::Timestamp { seconds, nanos });
        prop_assert_eq!(from_timestamp(&timestamp(Timestamp(micros))), Timestamp(micros));
    }
}
