//! `cofidectl attestation-policy`

use std::collections::BTreeMap;

use cofide_api::connect::attestation_policy_service::{CreateAttestationPolicyRequest, DestroyAttestationPolicyRequest};
use cofide_api::types::attestation_policy::{AttestationPolicy, attestation_policy::Policy};
use cofide_core::{KubernetesPolicy, LabelSelector, PolicyKind, StaticPolicy, TpmNodePolicy};
use cofide_runtime::command_line::WARNING;

use crate::args::attestation_policy::{AddCommand, AttestationPolicyCommand, KubernetesArgs, NameArgs, StaticArgs, TpmNodeArgs};
use crate::connection::{Connection, call};
use crate::error::Result;
use crate::printer::Printer;
use crate::resolve::policies;
use crate::view::attestation_policy::{PoliciesView, PolicyView};

/// The label that Kubernetes itself puts on every namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) async fn run(command: AttestationPolicyCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    match command {
        AttestationPolicyCommand::Add(command) => add(command, connection, printer).await,
        AttestationPolicyCommand::List => list(connection, printer).await,
        AttestationPolicyCommand::Get(args) => get(args, connection, printer).await,
        AttestationPolicyCommand::Del(args) => del(args, connection, printer).await,
    }
}

async fn add(command: AddCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let (name, kind) = match command {
        AddCommand::Kubernetes(args) => {
            if args.namespace.is_none() && args.pod_label.is_none() {
                printer.say("neither --namespace nor --pod-label is given: all workloads in the trust domain get an identity")?;
            }
            (args.name.clone(), kubernetes(args))
        }
        AddCommand::Static(args) => (args.name.clone(), static_policy(args)),
        AddCommand::TpmNode(args) => (args.name.clone(), tpm_node(args)),
    };
    let policy = AttestationPolicy { name: name.to_string(), policy: Some(Policy::from(&kind)), ..AttestationPolicy::default() };
    let request = CreateAttestationPolicyRequest { policy: Some(policy) };
    let answer = call(connection.attestation_policies().create_attestation_policy(request)).await?;
    let view = PolicyView::new(&answer.policy.unwrap_or_default())?;
    printer.done(
        &format!("created attestation policy {name}; it takes effect where it is bound: cofidectl attestation-policy-binding add"),
        &view,
    )
}

fn kubernetes(args: KubernetesArgs) -> PolicyKind {
    let namespace =
        |name| LabelSelector { match_labels: BTreeMap::from([(NAMESPACE_LABEL.to_owned(), name)]), match_expressions: Vec::new() };
    PolicyKind::Kubernetes(KubernetesPolicy {
        namespace_selector: args.namespace.map(namespace),
        pod_selector: args.pod_label,
        dns_name_templates: args.dns_name_templates,
        spiffe_id_path_template: args.spiffeid_path_template,
    })
}

fn static_policy(args: StaticArgs) -> PolicyKind {
    PolicyKind::Static(StaticPolicy {
        spiffe_id_path: args.spiffe_id_path,
        parent_id_path: args.parent_id_path,
        selectors: args.selectors,
        dns_names: args.dns_names,
        store_svid: false,
    })
}

fn tpm_node(args: TpmNodeArgs) -> PolicyKind {
    PolicyKind::TpmNode(TpmNodePolicy { ek_hash: Some(args.ek_hash), selector_values: args.selector_values })
}

async fn list(connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let mut views = Vec::new();
    for policy in policies(connection).await?.iter() {
        match PolicyView::new(policy) {
            Ok(view) => views.push(view),
            // The others are shown all the same.
            Err(error) => printer.say(&format!("{WARNING} {error}"))?,
        }
    }
    printer.show(&PoliciesView(views))
}

async fn get(args: NameArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    printer.show(&PolicyView::new(policies(connection).await?.find(&args.name)?)?)
}

async fn del(args: NameArgs, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let policies = policies(connection).await?;
    let policy = policies.find(&args.name)?;
    let request = DestroyAttestationPolicyRequest { policy_id: policy.id.clone() };
    call(connection.attestation_policies().destroy_attestation_policy(request)).await?;
    printer.say(&format!("removed attestation policy {}", policy.name))
}
