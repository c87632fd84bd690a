//! One suite for every database that holds the control plane's state, and what is particular to files and to PostgreSQL.
//!
//! What needs a PostgreSQL server is in modules that are named `postgres_server`; `lab/postgres/install` installs it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop at the first surprise, as tests may")]

mod conformance;
mod crash;
mod files;
mod objects;
#[path = "../../../testkit/src/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the whole, which use other parts of it")]
mod postgres;
mod postgres_server;
mod schema;

use cofide_store::Store;
use cofide_test_objects as builders;

/// A database in a folder of its own, which goes with it.
struct InFile {
    store: Store,
    _folder: tempfile::TempDir,
}

impl AsRef<Store> for InFile {
    fn as_ref(&self) -> &Store {
        &self.store
    }
}

async fn in_file() -> InFile {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("connect.db")).await.unwrap();
    InFile { store, _folder: folder }
}

async fn in_memory() -> Store {
    Store::in_memory().await.unwrap()
}

/// A database of its own in the server of this process.
async fn in_postgres() -> Store {
    let database = tokio::task::spawn_blocking(|| postgres::Postgres::shared().database()).await.unwrap();
    Store::connect(database.parse().unwrap()).await.unwrap()
}

/// Runs each test on a fresh database of each kind. Those under `several connections` need a database that can be read while
/// it is written, and those under `many commits` one that need not be flushed after each.
macro_rules! conformance {
    (
        any: { $($module:ident: [$($test:ident),* $(,)?],)* }
        several connections: { $($wide_module:ident: [$($wide_test:ident),* $(,)?],)* }
        many commits: { $($long_module:ident: [$($long_test:ident),* $(,)?],)* }
    ) => {
        mod sqlite_file {
            $($(#[tokio::test(flavor = "multi_thread")] async fn $test() { crate::conformance::$module::$test(crate::in_file().await.as_ref()).await })*)*
            $($(#[tokio::test(flavor = "multi_thread")] async fn $wide_test() { crate::conformance::$wide_module::$wide_test(crate::in_file().await.as_ref()).await })*)*
        }
        mod in_postgres_server {
            $($(#[tokio::test(flavor = "multi_thread")] async fn $test() { crate::conformance::$module::$test(&crate::in_postgres().await).await })*)*
            $($(#[tokio::test(flavor = "multi_thread")] async fn $wide_test() { crate::conformance::$wide_module::$wide_test(&crate::in_postgres().await).await })*)*
            $($(#[tokio::test(flavor = "multi_thread")] async fn $long_test() { crate::conformance::$long_module::$long_test(&crate::in_postgres().await).await })*)*
        }
        mod sqlite_memory {
            $($(#[tokio::test(flavor = "multi_thread")] async fn $test() { crate::conformance::$module::$test(&crate::in_memory().await).await })*)*
            $($(#[tokio::test(flavor = "multi_thread")] async fn $long_test() { crate::conformance::$long_module::$long_test(&crate::in_memory().await).await })*)*
        }
    };
}

conformance! {
    any: {
        organizations: [
            organizations_are_kept_and_have_unique_names,
        ],
        trust_zones: [
            trust_zones_are_kept_in_full_and_in_part,
            trust_zones_are_unique_by_name_and_by_trust_domain,
            a_trust_zone_is_not_deleted_while_it_has_clusters,
            deleting_a_trust_zone_takes_what_belongs_to_it,
        ],
        clusters: [
            clusters_are_kept_in_full_and_in_part,
            cluster_names_are_unique_within_their_zone_only,
            deleting_a_cluster_takes_what_belongs_to_it,
        ],
        agents: [
            a_cluster_has_one_agent,
            an_agent_cannot_name_another_zone_than_its_cluster,
            a_text_with_a_nul_is_kept_without_it,
        ],
        replicas: [
            an_agent_is_followed_where_a_replica_says_so_for_as_long_as_it_is_there,
        ],
        federations: [
            federations_are_directed_pairs,
            a_zone_does_not_federate_with_itself,
            deleting_a_federation_leaves_bindings_alone,
        ],
        attestation_policies: [
            policies_of_every_kind_are_kept,
            policy_names_are_unique,
            a_policy_is_not_deleted_while_it_is_bound,
            bindings_keep_the_order_of_their_federations,
            a_policy_is_bound_once_in_a_zone,
        ],
        federated_services: [
            federated_services_are_kept_in_full_and_in_part,
            a_hostname_is_taken_once_in_a_cluster,
            a_service_id_is_taken_once,
        ],
        control_plane_secrets: [
            secrets_of_the_control_plane_are_kept_by_name,
        ],
        nouns: [
            lists_follow_their_filters,
            what_is_not_there_is_not_updated_or_deleted,
            references_to_nothing_are_refused,
            constraints_hold_where_no_check_looks,
        ],
        join_tokens: [
            a_token_is_good_once,
            an_expired_token_is_refused_and_gone,
            a_newer_token_takes_the_place_of_the_older,
            a_token_that_was_used_in_a_dropped_transaction_is_still_good,
            expired_tokens_are_purged,
            a_token_is_bound_to_a_cluster_of_its_zone,
        ],
        transactions: [
            a_dropped_transaction_leaves_nothing,
            the_revision_grows_by_one_with_each_change_and_only_then,
            a_change_and_its_events_are_there_together_or_not_at_all,
            a_commit_wakes_those_who_wait_for_a_revision,
        ],
        changes: [
            every_kind_of_change_is_kept_as_it_was,
            a_change_resolves_to_what_is_there_now,
            a_reader_from_another_history_is_told_so,
            a_snapshot_that_follows_the_changes_equals_one_that_is_read_anew,
        ],
        audit: [
            an_event_is_kept_in_full,
            events_come_newest_first_and_page_by_page,
            pages_do_not_shift_when_events_are_added,
            filters_select_what_their_words_say,
            a_token_is_refused_where_it_does_not_belong,
            an_entity_filter_needs_a_kind_or_an_id,
            old_events_go_first_and_in_batches,
            events_of_one_workload_are_counted_and_its_oldest_go,
        ],
        receipts: [
            the_last_word_about_a_resource_is_kept,
            receipts_are_listed_by_zone_cluster_type_and_name,
            the_latest_receipt_of_each_cluster_is_found_without_reading_the_others,
            receipts_go_with_their_agent,
        ],
        bundle_packages: [the_record_of_a_zones_packages_is_kept_and_goes_with_the_zone],
        bundle_readings: [
            the_last_reading_of_each_cluster_is_kept,
            a_reading_goes_with_its_cluster,
        ],
    }
    several connections: {
        transactions: [
            a_reader_sees_one_state_for_as_long_as_it_looks,
            concurrent_writers_get_one_revision_each,
            of_two_attempts_with_one_token_one_succeeds,
        ],
    }
    many commits: {
        changes: [a_reader_that_is_too_far_behind_is_told_so],
    }
}
