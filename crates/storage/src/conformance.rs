//! The tests that every database passes.
//!
//! A crate that implements [`Store`] writes how it makes a fresh database, as a [`TestDatabase`], and stamps the tests
//! with [`conformance_tests!`](crate::conformance_tests). It needs tokio (features `macros` and `rt-multi-thread`).
#![allow(clippy::unwrap_used, reason = "these are tests")]
#![allow(missing_docs, reason = "the names of the tests say what the system promises")]

mod browse;
mod changes;
mod claims;
mod concurrency;
mod corrections;
mod leases;
mod models;
mod operations;
mod operator;
mod prices;
mod reports;
mod retention;
mod roll_ups;
mod rounds;
mod samples;
mod scores;
mod settings;
mod standings;
mod store;

use std::sync::Arc;

use async_trait::async_trait;

pub use browse::*;
pub use changes::*;
pub use claims::*;
pub use concurrency::*;
pub use corrections::*;
pub use leases::*;
pub use models::*;
pub use operations::*;
pub use operator::*;
pub use prices::*;
pub use reports::*;
pub use retention::*;
pub use roll_ups::*;
pub use rounds::*;
pub use scores::*;
pub use settings::*;
pub use standings::*;
pub use store::*;

use crate::{ReportStore, Store};

/// An empty database for one test.
#[async_trait]
pub trait TestDatabase: Send + Sync {
    /// Opens it; as often as the test likes, as so many processes would.
    async fn open(&self) -> Arc<dyn Store>;

    /// Opens it for reading.
    async fn open_read_only(&self) -> Arc<dyn Store>;

    /// Opens it as the report worker does.
    async fn open_for_report(&self) -> Arc<dyn ReportStore>;

    /// Runs a statement behind the store's back.
    async fn execute(&self, sql: &'static str);

    /// Removes it when the test is over.
    async fn remove(&self);

    /// Opens it with the schema in place.
    async fn open_migrated(&self) -> Arc<dyn Store> {
        let store = self.open().await;
        store.migrate().await.unwrap();
        store
    }
}

/// Stamps every conformance test. The argument is an `async fn() -> Option<impl TestDatabase>` that makes a database
/// which exists but is empty, or says why it cannot and returns `None`.
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:path) => {
        $crate::conformance_tests! { @stamp $fresh:
            prices_come_back_as_they_were_stored,
            a_position_that_is_taken_keeps_its_price,
            closes_lie_after_the_start_up_to_the_end_and_corrections_win,
            the_feed_status_counts_by_asset,
            an_empty_ledger_has_no_prices,
            many_prices_are_appended_at_once,
            assets_are_awaited_until_their_last_round_is_judged,
            a_price_that_cannot_be_read_names_its_place,
            models_are_replaced_and_keep_when_they_answered,
            odd_names_of_models_survive,
            every_deployment_of_a_model_stays_with_when_it_was_seen,
            deployments_are_listed_portion_by_portion,
            a_model_is_a_baseline_for_as_long_as_it_is_announced_as_one,
            only_valid_answers_to_later_slots_move_the_last_answer,
            an_asked_round_is_fresh_once,
            a_round_is_closed_with_everything_in_it,
            a_round_closes_from_nothing_from_interrupted_and_from_missed,
            the_field_of_a_round_is_every_model_with_its_valid_answer,
            the_first_stored_outcome_of_a_round_stays,
            a_round_that_two_workers_asked_keeps_the_outcomes_stored_first_and_is_contested,
            of_two_outcomes_of_one_model_the_first_is_stored,
            a_round_without_predictions_closes,
            missed_overwrites_a_mark_that_nobody_asked_after_and_nothing_else,
            only_asked_rounds_are_interrupted,
            open_rounds_are_withdrawn_as_if_never_asked_and_what_was_held_is_free,
            pages_hold_every_round_of_a_span_once,
            odd_texts_and_refused_answers_survive,
            answers_come_back_byte_for_byte,
            a_thousand_predictions_are_stored_at_once,
            an_answer_that_cannot_be_read_names_its_place,
            the_newest_slot_is_that_of_any_round,
            instants_are_kept_to_the_microsecond,
            holes_are_found_between_closes_that_are_too_far_apart,
            a_price_that_comes_when_its_instant_is_past_is_a_correction,
            a_correction_is_of_what_was_known_last_and_on_record_once,
            corrections_are_listed_by_asset_and_by_close,
            corrections_are_applied_once_and_the_last_mark_of_a_round_stays,
            rounds_that_may_have_been_priced_are_found,
            a_round_with_a_later_correction_is_scored_again,
            scores_that_a_correction_leaves_as_they_are_count_as_no_change,
            scores_from_older_prices_replace_none_from_newer_ones,
            a_void_round_is_scored_when_its_prices_come_after_all,
            a_round_voided_by_hand_stays_void_whatever_is_corrected,
            ready_rounds_come_in_the_order_of_resolution_and_id,
            a_deferred_round_is_ready_again_in_time,
            scores_come_back_to_the_last_bit,
            storing_the_same_scores_again_changes_nothing,
            other_scores_replace_and_count_as_a_change,
            rounds_that_cannot_have_scores_get_none,
            the_scores_of_rounds_are_stored_together_and_numbered_in_the_order_of_ids,
            of_rounds_stored_together_all_have_scores_or_none,
            scores_that_are_not_finite_are_refused,
            a_round_is_voided_once_by_a_rule,
            rounds_judged_by_another_rule_are_outdated_the_latest_first,
            a_round_without_the_rule_that_voided_it_is_outdated,
            another_rule_may_void_what_was_scored_and_score_what_was_void,
            changes_show_the_scores_of_the_rule_that_is_asked_for_only,
            changes_come_in_the_order_of_their_numbers,
            the_first_scored_round_since_a_model_joined_is_found,
            scored_predictions_are_counted_by_model,
            exports_page_through_all_rounds_in_order,
            no_two_claims_hold_one_round,
            a_claim_that_ran_out_is_taken_by_another_and_the_late_result_changes_nothing,
            the_first_round_that_is_ready_is_found_whoever_has_claimed_it,
            a_claim_that_is_renewed_lasts_longer,
            claims_that_are_given_back_are_free_at_once,
            a_claim_ends_when_its_round_is_scored_voided_or_deferred,
            outdated_rounds_are_claimed_too,
            many_workers_claim_each_round_once,
            a_lease_has_one_holder_at_a_time,
            a_lease_that_ran_out_is_taken_by_another_with_a_higher_token,
            a_lease_that_is_renewed_or_given_back_ends_later_or_at_once,
            of_many_that_want_a_lease_at_once_one_gets_it,
            a_lease_is_taken_at_once_from_a_holder_that_is_known_to_be_dead,
            who_holds_a_lease_and_since_when_is_told,
            who_lost_the_lead_closes_its_rounds_and_writes_nothing_else,
            who_lost_the_ranking_writes_no_leaderboard_and_no_snapshot,
            the_newest_leaderboard_is_that_of_the_latest_instant,
            leaderboards_are_listed_oldest_first_the_newest_of_them,
            the_instants_of_leaderboards_are_listed_newest_first,
            snapshots_are_kept_by_hour,
            the_mark_of_the_snapshots_moves_whenever_one_may_have_changed,
            chosen_snapshots_come_packed_and_in_order,
            scored_rounds_are_listed_by_slot_and_no_others,
            outcomes_of_chosen_models_say_why_there_is_no_score,
            outcomes_of_many_rounds_and_models_come_at_once,
            the_latest_prices_come_latest_first_and_corrections_before_what_they_correct,
            changes_of_scoring_are_recorded_in_order_and_a_repetition_is_none,
            roll_ups_come_back_to_the_last_bit_and_are_replaced,
            roll_ups_are_of_one_rule_and_reach_back_so_far,
            who_lost_the_ranking_rolls_nothing_up,
            a_roll_up_that_cannot_be_read_names_its_place,
            the_earliest_round_with_a_change_is_found,
            a_round_voided_by_hand_is_judged_by_no_rule_until_it_is_rescored,
            only_what_was_asked_and_is_kept_can_be_judged_by_hand,
            a_model_is_excluded_until_it_is_included,
            a_pause_lasts_until_it_is_resumed,
            what_operators_do_is_on_record_newest_first_and_what_changes_nothing_is_not,
            old_rounds_leave_and_what_is_needed_stays,
            a_round_waits_for_its_scores_and_leaves_then,
            a_round_that_arrives_after_its_day_has_left_is_stored_and_leaves_too,
            a_removal_that_is_cut_short_anywhere_loses_nothing_else,
            two_processes_may_remove_the_same,
            of_old_leaderboards_the_first_of_each_hour_and_the_newest_stay,
            old_snapshots_and_prices_leave_but_for_the_newest,
            when_a_model_was_first_scored_outlives_the_score,
            unfinished_rounds_are_counted,
            everything_leaves_as_the_settings_say,
            a_changed_setting_is_on_record_once_however_many_workers_note_it,
            settings_noted_at_once_are_one_change,
            who_watches_is_told_what_others_commit,
            the_newest_rounds_and_those_judged_since_are_listed,
            rounds_are_listed_newest_first_by_what_they_are,
            a_list_of_rounds_goes_on_where_it_stopped,
            a_search_for_rare_rounds_stops_and_goes_on,
            a_round_tells_every_outcome_with_its_score_and_no_answer,
            one_prediction_is_found_with_its_answer,
            a_models_outcomes_come_newest_first_with_their_rounds_and_scores,
            the_outcomes_of_a_model_that_is_rarely_asked_are_found_in_portions,
            the_activity_of_rounds_is_summed_by_model,
            spaced_closes_are_the_last_of_each_span,
            workers_are_listed_as_they_said_last_until_they_stop,
            a_worker_that_was_silent_for_a_day_leaves_when_another_says_something,
            slots_are_counted_by_what_became_of_them,
            rounds_that_wait_for_their_scores_are_counted,
            empty_arguments_change_nothing,
            bounds_may_be_the_first_and_last_instant,
            counts_add_up,
            an_empty_database_needs_a_migration,
            migrating_again_changes_nothing,
            a_schema_from_a_newer_program_is_refused,
            a_schema_from_an_older_program_is_refused,
            a_store_for_reading_reads_and_refuses_every_write,
            processes_may_migrate_at_once,
            one_of_two_outcomes_stored_at_once_stays_whole,
            a_round_marked_twice_at_once_is_fresh_for_one,
            scores_stored_twice_at_once_are_one_change,
            workers_that_store_the_same_rounds_together_do_not_lock_each_other_out,
            a_change_of_scoring_recorded_twice_at_once_is_there_once,
            writers_of_many_rounds_do_not_lock_each_other_out,
            no_change_appears_below_one_that_was_seen,
        }
    };
    (@stamp $fresh:path: $($name:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            use $crate::conformance::TestDatabase as _;
            if let Some(database) = $fresh().await {
                $crate::conformance::$name(&database).await;
                database.remove().await;
            }
        }
    )+};
}
