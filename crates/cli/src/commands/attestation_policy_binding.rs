//! `cofidectl attestation-policy-binding`

use std::time::SystemTime;

use cofide_api::connect::ap_binding_service::{
    CreateApBindingRequest, DestroyApBindingRequest, ListApBindingsRequest, UpdateApBindingRequest, list_ap_bindings_request,
};
use cofide_api::connect::receipt_service::{ListBindingStatusesRequest, list_binding_statuses_request};
use cofide_api::types::ap_binding::{ApBinding, ApBindingFederation};
use cofide_api::types::attestation_policy::AttestationPolicy;
use cofide_api::types::trust_zone::TrustZone;
use cofide_core::NamePattern;

use crate::args::attestation_policy_binding::{AddArgs, BindingCommand, ListArgs, UpdateArgs, WhichArgs};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{Directory, policies, trust_zones};
use crate::view::attestation_policy_binding::{BindingStatusView, BindingView, BindingsView};

pub(super) async fn run(command: BindingCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let names = Names { zones: trust_zones(connection).await?, policies: policies(connection).await? };
    match command {
        BindingCommand::Add(args) => add(args, &names, connection, printer).await,
        BindingCommand::List(args) => list(args, &names, connection, printer).await,
        BindingCommand::Get(args) => get(args, &names, connection, printer).await,
        BindingCommand::Update(args) => update(args, &names, connection, printer).await,
        BindingCommand::Del(args) => del(args, &names, connection, printer).await,
    }
}

/// Neither flag is no mistake; there is only nothing to do.
pub(super) fn asks_for_a_change(args: &UpdateArgs) -> Result<bool> {
    match (args.federates_with.is_empty(), args.clear_federations) {
        (false, true) => Err(Error::Usage("cannot simultaneously specify --federates-with and --clear-federations".to_owned())),
        (with_nothing, clear) => Ok(clear || !with_nothing),
    }
}

/// The two nouns that a binding refers to.
struct Names {
    zones: Directory<TrustZone>,
    policies: Directory<AttestationPolicy>,
}

impl Names {
    /// Zones by their names, and patterns.
    fn partners(&self, names: &[String]) -> Result<(Vec<ApBindingFederation>, Vec<String>)> {
        let (patterns, names): (Vec<String>, Vec<String>) = names.iter().cloned().partition(|name| NamePattern::is_meant(name));
        for pattern in &patterns {
            if let Err(error) = pattern.parse::<NamePattern>() {
                return Err(Error::Usage(format!("{pattern:?} cannot match the name of a trust zone: it {error}")));
            }
        }
        let find = |name: &String| {
            let zone = self.zones.find(name).map_err(|error| error.instead(format!("federated trust zone not found: {name}")))?;
            Ok(ApBindingFederation { trust_zone_id: zone.id.clone() })
        };
        Ok((names.iter().map(find).collect::<Result<_>>()?, patterns))
    }

    fn view(&self, binding: Option<ApBinding>) -> BindingView {
        BindingView::new(&binding.unwrap_or_default(), &self.zones, &self.policies)
    }
}

fn sentence(done: &str, view: &BindingView) -> String {
    let BindingView { trust_zone, attestation_policy, .. } = view;
    let federates_with = match (view.federates_with.as_slice(), view.federates_with_patterns.as_slice()) {
        ([], []) => "without federation: its workloads trust their own trust domain alone".to_owned(),
        ([], patterns) => format!("federating with whatever {} will match; there is no such federation yet", patterns.join(", ")),
        (zones, []) => format!("federating with {}", zones.join(", ")),
        (zones, patterns) => format!("federating with {}, and with whatever else {} will match", zones.join(", "), patterns.join(", ")),
    };
    format!("{done} binding of {attestation_policy} in trust zone {trust_zone}, {federates_with}")
}

async fn bindings(connection: &Connection, zone: Option<&TrustZone>, policy: Option<&AttestationPolicy>) -> Result<Vec<ApBinding>> {
    let filter = list_ap_bindings_request::Filter {
        trust_zone_id: zone.and_then(|zone| zone.id.clone()),
        policy_id: policy.and_then(|policy| policy.id.clone()),
        ..Default::default()
    };
    Ok(call(connection.ap_bindings().list_ap_bindings(ListApBindingsRequest { filter: Some(filter) })).await?.bindings)
}

async fn find(which: &WhichArgs, names: &Names, connection: &Connection) -> Result<ApBinding> {
    let zone = names.zones.find(&which.trust_zone)?;
    let policy = names.policies.find(&which.attestation_policy)?;
    let mut found = bindings(connection, Some(zone), Some(policy)).await?.into_iter();
    match (found.next(), found.next()) {
        (Some(binding), None) => Ok(binding),
        (None, _) => Err(Error::failed(format!("no binding found of {} in trust zone {}", policy.name, zone.name))
            .hint("cofidectl attestation-policy-binding list shows which there are")),
        (Some(_), Some(_)) => Err(Error::failed(format!("multiple bindings found of {} in trust zone {}", policy.name, zone.name))),
    }
}

async fn add(args: AddArgs, names: &Names, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let (federations, federates_with_patterns) = names.partners(&args.federates_with)?;
    let binding = ApBinding {
        trust_zone_id: names.zones.find(&args.which.trust_zone)?.id.clone(),
        policy_id: names.policies.find(&args.which.attestation_policy)?.id.clone(),
        federations,
        federates_with_patterns,
        ..ApBinding::default()
    };
    let answer = call(connection.ap_bindings().create_ap_binding(CreateApBindingRequest { binding: Some(binding) })).await?;
    let view = names.view(answer.binding);
    printer.done(&sentence("created", &view), &view)
}

async fn list(args: ListArgs, names: &Names, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let zone = args.trust_zone.as_deref().map(|name| names.zones.find(name)).transpose()?;
    let policy = args.attestation_policy.as_deref().map(|name| names.policies.find(name)).transpose()?;
    let bindings = bindings(connection, zone, policy).await?;
    let mut views = with_statuses(bindings, names, zone, policy, connection).await?;
    let key = |view: &BindingStatusView| (view.binding.trust_zone.clone(), view.binding.attestation_policy.clone());
    views.sort_by_key(key);
    printer.show(&BindingsView(views))
}

async fn with_statuses(
    bindings: Vec<ApBinding>,
    names: &Names,
    zone: Option<&TrustZone>,
    policy: Option<&AttestationPolicy>,
    connection: &Connection,
) -> Result<Vec<BindingStatusView>> {
    let filter = list_binding_statuses_request::Filter {
        trust_zone_id: zone.and_then(|zone| zone.id.clone()),
        policy_id: policy.and_then(|policy| policy.id.clone()),
    };
    let request = ListBindingStatusesRequest { filter: Some(filter) };
    let statuses = call(connection.receipts().list_binding_statuses(request)).await?.statuses;
    let now = SystemTime::now().into();
    let view = |binding| BindingStatusView::new(names.view(Some(binding)), &statuses, &names.zones, now);
    Ok(bindings.into_iter().map(view).collect())
}

async fn get(args: WhichArgs, names: &Names, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let binding = find(&args, names, connection).await?;
    let zone = names.zones.find(&args.trust_zone)?;
    let policy = names.policies.find(&args.attestation_policy)?;
    let views = with_statuses(vec![binding], names, Some(zone), Some(policy), connection).await?;
    views.iter().try_for_each(|view| printer.show(view))
}

async fn update(args: UpdateArgs, names: &Names, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let (federations, federates_with_patterns) = names.partners(&args.federates_with)?;
    let held = find(&args.which, names, connection).await?;
    let binding = ApBinding { federations, federates_with_patterns, ..held };
    let request = UpdateApBindingRequest { binding: Some(binding) };
    let answer = call(connection.ap_bindings().update_ap_binding(request)).await?;
    let view = names.view(answer.binding);
    printer.done(&sentence("updated", &view), &view)
}

async fn del(args: WhichArgs, names: &Names, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let binding = find(&args, names, connection).await?;
    call(connection.ap_bindings().destroy_ap_binding(DestroyApBindingRequest { binding_id: binding.id })).await?;
    printer.say(&format!("removed binding of {} in trust zone {}", args.attestation_policy, args.trust_zone))
}
