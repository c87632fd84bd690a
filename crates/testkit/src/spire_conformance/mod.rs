//! One suite for whatever serves SPIRE's server APIs: as clients of SPIRE know them, and as the agent drives them.
//!
//! Each function is a test that starts servers of one kind. [`spire_conformance`](crate::spire_conformance!) makes tests of all of
//! them; it is called once for the trust-zone-server, whose tests are quick, and once for SPIRE itself, which says what is right.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

mod authorities;
mod bundles;
mod entries;
mod executor;
mod relationships;
mod server;

pub use authorities::*;
pub use bundles::*;
pub use entries::*;
pub use executor::*;
pub use relationships::*;
pub use server::{Server, ServerKind};

use cofide_core::TrustDomain;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

/// A test for each function of the suite, against servers of this [`ServerKind`].
#[macro_export]
macro_rules! spire_conformance {
    ($kind:expr) => {
        $crate::spire_conformance! { $kind;
            a_bundle_beside_a_controller_that_nobody_wanted_is_named_as_a_stranger
            a_bundle_in_use_by_others_is_not_taken_from_them
            a_bundle_that_a_server_went_away_with_is_reported_as_there_and_removed_later
            a_bundle_of_another_issuer_is_replaced_and_a_newer_one_of_the_same_is_kept_and_reported
            a_bundle_that_comes_late_completes_an_identity_that_is_there_already
            a_run_that_was_killed_between_any_two_calls_is_finished_by_the_next
            a_server_of_another_trust_domain_is_not_touched
            a_server_that_is_away_is_an_error_and_the_same_client_finds_it_again
            a_thousand_entries_are_created_read_and_deleted_in_pages
            an_agent_that_forgot_takes_down_what_the_plan_still_named_and_names_the_rest
            an_authority_is_prepared_activated_tainted_and_revoked_in_this_order
            an_entry_lives_through_create_get_update_and_delete
            an_entry_that_breaks_a_rule_is_refused_alone
            entries_are_read_again_when_something_speaks_for_it_and_not_before
            entries_are_filtered_counted_and_paged
            federation_relationships_are_kept_as_given
            foreign_bundles_are_created_changed_and_deleted
            marks_of_a_partners_authorities_are_no_reason_to_write_or_to_complain
            the_server_becomes_what_the_plan_asks_for_and_stays_so
            what_others_made_in_the_server_is_left_alone
        }
    };
    ($kind:expr; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::spire_conformance::$name($kind).await;
            }
        )*
    };
}
