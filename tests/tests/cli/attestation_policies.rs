//! Attestation policies of all three kinds.

use crate::support::{Connect, assert_transcript};

#[tokio::test]
async fn policies_of_each_kind_come_are_shown_and_go() {
    let connect = Connect::start().await;
    let mut transcript = connect.transcript();
    transcript.run("attestation-policy list").await;
    let selective = "attestation-policy add kubernetes --name pods --namespace demo --pod-label 'app=server,tier in (front,back)' \
                     --spiffeid-path-template 'ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}' --dnsNameTemplates \
                     a.test,b.test --dns-name-templates c.test";
    let hash = "0123456789abcdef".repeat(4);
    transcript
        .run_all(&[
            selective,
            "attestation-policy add kubernetes --name everything",
            "attestation-policy add static --name server --spiffe-id-path ns/demo/sa/server --parent-id-path /spire/agent --selectors \
             unix:uid:1000,unix:path:/usr/bin/server --selectors unix:gid:5 --dns-names server.test",
            &format!("attestation-policy add tpm-node --name node --ek-hash {hash} --selector-value one,two --selector-value three"),
            "attestation-policy list",
            "attestation-policy get pods",
            "attestation-policy get server --output json",
            "attestation-policy get node --output yaml",
        ])
        .await;
    transcript.note("A name is used once, whatever the kind.");
    transcript.run(&format!("attestation-policy add tpm-node --name server --ek-hash {hash}")).await;
    transcript.note("Selectors, labels, paths and hashes that are none.");
    transcript
        .run_all(&[
            "attestation-policy add static --name x --spiffe-id-path ns/x --parent-id-path spire/agent --selectors unix",
            "attestation-policy add static --name x --spiffe-id-path ns/x --parent-id-path spire/agent",
            "attestation-policy add static --name x --spiffe-id-path ns//x --parent-id-path spire/agent --selectors unix:uid:1",
            "attestation-policy add kubernetes --name x --pod-label 'app within (a)'",
            "attestation-policy add tpm-node --name x --ek-hash abc",
            "attestation-policy add docker --name x",
        ])
        .await;
    transcript.run("attestation-policy del everything").await.done();
    transcript.run("attestation-policy del everything").await;
    transcript.run("attestation-policy get serve").await;
    assert_transcript!(transcript);
}
