//! `cofidectl attestation-policy-binding`

use cofide_api::connect::ap_binding_service::{
    CreateApBindingRequest, DestroyApBindingRequest, ListApBindingsRequest, UpdateApBindingRequest, list_ap_bindings_request,
};
use cofide_api::types::ap_binding::{ApBinding, ApBindingFederation};
use cofide_api::types::attestation_policy::AttestationPolicy;
use cofide_api::types::trust_zone::TrustZone;

use crate::args::attestation_policy_binding::{AddArgs, BindingCommand, ListArgs, UpdateArgs, WhichArgs};
use crate::connection::{Connection, call};
use crate::error::{Error, Result};
use crate::printer::Printer;
use crate::resolve::{Directory, policies, trust_zones};
use crate::view::attestation_policy_binding::{BindingView, BindingsView};

pub(super) async fn run(command: BindingCommand, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let names = Names { zones: trust_zones(connection).await?, policies: policies(connection).await? };
    match command {
        BindingCommand::Add(args) => add(args, &names, connection, printer).await,
        BindingCommand::List(args) => list(args, &names, connection, printer).await,
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
    fn federations(&self, names: &[String]) -> Result<Vec<ApBindingFederation>> {
        let find = |name: &String| {
            let zone = self.zones.find(name).map_err(|error| error.instead(format!("federated trust zone not found: {name}")))?;
            Ok(ApBindingFederation { trust_zone_id: zone.id.clone() })
        };
        names.iter().map(find).collect()
    }

    fn view(&self, binding: Option<ApBinding>) -> BindingView {
        BindingView::new(&binding.unwrap_or_default(), &self.zones, &self.policies)
    }
}

fn sentence(done: &str, view: &BindingView) -> String {
    let BindingView { trust_zone, attestation_policy, federates_with, .. } = view;
    let federates_with = match federates_with.as_slice() {
        [] => "without federation: its workloads trust their own trust domain alone".to_owned(),
        zones => format!("federating with {}", zones.join(", ")),
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
    let binding = ApBinding {
        trust_zone_id: names.zones.find(&args.which.trust_zone)?.id.clone(),
        policy_id: names.policies.find(&args.which.attestation_policy)?.id.clone(),
        federations: names.federations(&args.federates_with)?,
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
    let mut views: Vec<_> = bindings.iter().map(|binding| BindingView::new(binding, &names.zones, &names.policies)).collect();
    views.sort_by(|a, b| (&a.trust_zone, &a.attestation_policy).cmp(&(&b.trust_zone, &b.attestation_policy)));
    printer.show(&BindingsView(views))
}

async fn update(args: UpdateArgs, names: &Names, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let federations = names.federations(&args.federates_with)?;
    let held = find(&args.which, names, connection).await?;
    let request = UpdateApBindingRequest { binding: Some(ApBinding { federations, ..held }) };
    let answer = call(connection.ap_bindings().update_ap_binding(request)).await?;
    let view = names.view(answer.binding);
    printer.done(&sentence("updated", &view), &view)
}

async fn del(args: WhichArgs, names: &Names, connection: &Connection, printer: &mut Printer<'_>) -> Result<()> {
    let binding = find(&args, names, connection).await?;
    call(connection.ap_bindings().destroy_ap_binding(DestroyApBindingRequest { binding_id: binding.id })).await?;
    printer.say(&format!("removed binding of {} in trust zone {}", args.attestation_policy, args.trust_zone))
}
