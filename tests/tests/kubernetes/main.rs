//! The whole of it on real parts: three clusters, two of them with Istio, and agents that run under the rights of their chart.
//!
//! ```text
//!   server   local.domain    Istio     what the tests export
//!   client   other1.domain   Istio     clients behind sidecars
//!   plain    other2.domain   no mesh   clients behind Envoys of the agent, and SDKs; exports through an Envoy of the agent
//!   stranger third.domain    a host    federated with `server`, and nothing is exported to it
//! ```
//!
//! The clusters are started once. Tests of a namespace of their own run side by side; those that take a part of the world away
//! run alone. Root and Go are needed, as for everything with a lab.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod bad_input;
mod clocks;
mod deletion;
mod example;
mod gateways;
mod identities;
mod older_definition;
mod outages;
mod several_clusters;
mod support;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use support::Stage;

/// Most of them wait more than they compute.
const SIDE_BY_SIDE: usize = 6;

macro_rules! trials {
    ($runtime:ident, $stage:ident; $($lock:ident: $($test:path,)*;)*) => {
        vec![$($({
            let (runtime, stage) = ($runtime.clone(), $stage.clone());
            Trial::test(stringify!($test).replace(' ', ""), move || {
                runtime.block_on(async {
                    let mut world = stage.$lock().await;
                    $test(&mut world).await;
                });
                Ok(())
            })
        },)*)*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let runtime = Arc::new(Runtime::new().unwrap());
    let stage = Arc::new(Stage::default());
    let trials = trials!(runtime, stage;
        together:
            example::the_example_of_the_documentation_is_reached_from_a_mesh_and_from_a_cluster_without_one,
            example::a_client_that_speaks_plain_text_gets_mtls_from_the_envoy_beside_it,
            example::http_in_plain_text_gets_mtls_from_the_sidecar_of_a_mesh,
            example::where_the_sidecar_terminates_tls_plain_text_arrives_from_a_mesh_and_from_without_one,
            example::the_sidecar_of_an_mtls_server_leaves_its_port_alone,
            example::it_works_whatever_authority_the_certificates_of_istio_itself_come_from,
            example::an_undeclared_trust_domain_is_refused_and_an_unexported_name_leads_nowhere,
            example::the_sidecar_refuses_an_undeclared_trust_domain_whose_certificates_it_could_verify,
            example::a_cluster_without_istio_exports_through_an_envoy_of_its_agent,
            example::two_services_share_a_port_and_each_name_leads_to_its_own_server,
            deletion::the_status_names_the_gateways_and_everything_written_belongs_to_the_federated_service,
            deletion::when_it_is_deleted_its_objects_go_from_every_cluster_and_clients_are_refused,
            gateways::manual_gateways_replace_the_discovered_ones_until_they_are_removed,
            gateways::a_gateway_with_a_name_is_followed_to_its_new_address,
            identities::an_envoy_takes_only_a_server_with_a_named_path_and_the_slash_before_it_may_be_left_out,
            identities::where_sidecars_terminate_tls_both_kinds_of_client_take_only_a_server_with_a_named_path,
            bad_input::each_way_in_which_no_service_stands_behind_is_named,
            bad_input::a_headless_service_is_as_good_as_another,
            bad_input::the_owner_of_a_namespace_exports_nobody_elses_pods,
            bad_input::three_hundred_trust_domains_are_taken_and_those_that_nobody_has_are_named,
            bad_input::a_name_of_63_characters_is_reached_and_one_of_64_is_refused_at_once,
            bad_input::an_object_of_an_import_that_somebody_edits_or_deletes_is_repaired,
            bad_input::an_object_of_somebody_else_that_has_our_name_is_left_alone_and_reported,
        ;
        alone:
            deletion::one_deleted_while_the_agent_is_down_is_collected_when_it_returns,
            deletion::what_an_importing_agent_wrote_is_collected_though_the_service_went_while_it_was_away,
            gateways::a_service_waits_for_a_gateway_and_is_announced_when_one_appears,
            gateways::when_one_of_several_gateways_dies_under_traffic_clients_go_on_through_the_others,
            gateways::nodes_are_the_way_in_where_the_configuration_says_so,
            older_definition::a_cluster_with_the_older_definition_exports_all_the_same_and_a_bad_object_there_harms_only_itself,
            several_clusters::clusters_of_one_trust_zone_that_export_one_hostname_serve_it_together_and_for_each_other,
            clocks::an_agent_whose_clock_is_five_minutes_off_joins_leads_and_gives_way,
            outages::without_connect_traffic_and_status_go_on_and_it_hears_of_a_deletion_when_it_returns,
            outages::while_an_api_server_restarts_traffic_goes_on_and_changes_are_followed_afterwards,
            outages::when_the_leader_is_killed_the_other_agent_takes_over_and_writes_nothing_twice,
            bad_input::rights_that_are_taken_away_are_missed_aloud_and_used_when_they_are_back,
            bad_input::no_agent_ever_asked_for_more_than_the_role_of_its_chart_allows,
        ;
    );
    let is_wanted = |trial: &Trial| arguments.filter.as_ref().is_none_or(|filter| trial.name().contains(filter.as_str()));
    if !arguments.list && trials.iter().any(is_wanted) {
        // On this thread: an Envoy ends with the thread that has started it, and those of the tests end before the world does.
        runtime.block_on(stage.set_up());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    runtime.block_on(async { drop(stage) });
    conclusion.exit_code()
}
