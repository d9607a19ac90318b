//! What has to hold whatever happens. Each check is named for what it says, and tells the number of the invariant in
//! ARCHITECTURE.md. The first part looks at what models saw, the second at what is on record, the third at what is on
//! record when everything has ended well.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Asset, LedgerEntry, ModelId, Parameter, Prediction, PredictionStatus, PricePoint, RoundState, Standings,
    Timestamp, TimestampExt,
};
use scoring::{PackedAnswer, RoundOutcome, Settlement, score_round, settle};
use storage::{BY_HAND, ExportedRound};

use crate::afresh;
use crate::facts::Life;
use crate::models::{Asked, Deployment, location};
use crate::operation::{Manner, TIMETABLES};
use crate::record::{Record, Round};
use crate::world::{CALL_TIMEOUT, HISTORY, INTERVAL, World, crunch, score_settings, timetable};

/// What does not hold, in words.
pub type Checked = Result<(), String>;

/// Rounds are looked at while their slot is not longer ago than this: what was right then is looked at again in the end.
const RECENT: domain::Span = domain::Span::minutes(8);

/// Checks what has to hold at any time.
pub fn check(world: &World) -> Checked {
    let since = world.now().floor_to(INTERVAL) - RECENT;
    check_record(world, since).map(drop)
}

/// Checks what has to hold when everything has ended well.
pub fn check_end(world: &World) -> Checked {
    let record = check_record(world, Timestamp::UNIX_EPOCH)?;
    every_round_has_ended(&record)?;
    scores_follow_every_correction(&record)?;
    the_leaderboard_equals_one_computed_afresh(world, &record)?;
    excluded_models_have_no_place(world, &record)
}

fn check_record(world: &World, since: Timestamp) -> Result<Record, String> {
    no_worker_dies_by_itself(world)?;
    let asked = world.diary.asked();
    let recent: Vec<&Asked> = asked.iter().filter(|asked| asked.slot() >= since).collect();
    no_model_knows_a_later_price(world, &recent)?;
    no_model_is_asked_twice_in_a_round(world, &recent)?;
    one_call_at_a_time(world)?;
    let record = world.read(move |store| Record::read(store, since));
    models_know_of_prices_without_a_hole(world, &recent, &record)?;
    sound_models_know_every_price(world, &recent, &record)?;
    rounds_are_those_of_the_timetable(&record)?;
    a_slot_is_missed_for_a_reason_of_its_time(world, &record)?;
    nobody_is_asked_while_asking_is_paused(world, &recent)?;
    a_round_is_interrupted_by_a_kill_only(world, &record)?;
    a_round_is_contested_by_two_workers_only(world, &record)?;
    a_full_disk_is_told(world, &recent)?;
    outcomes_are_what_models_gave(world, &asked, &record)?;
    a_sound_model_is_never_at_fault(world, &record)?;
    scores_are_a_pure_function(world, &record)?;
    no_answer_of_an_open_round_is_shown(world, &record)?;
    windows_hold_the_scored_rounds(world)?;
    if world.is_caught_up() {
        every_slot_is_on_record(world, since, &record)?;
        no_round_stays_open(world, &record)?;
        what_was_answered_in_time_is_stored(world, &recent, &record)?;
    }
    Ok(record)
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// No invariant has it, since it goes without saying: workers end when they are told to or killed.
fn no_worker_dies_by_itself(world: &World) -> Checked {
    let faults = world.faults();
    ensure(faults.is_empty(), || format!("{faults:?}"))
}

/// Invariant 3: in the round of slot t no model has seen a price later than t; unless another worker tells it, of which the one that
/// asks does not know.
fn no_model_knows_a_later_price(world: &World, asked: &[&Asked]) -> Checked {
    let by_one_worker = |asked: &&&Asked| !world.facts.had_rivals_in(asked.slot());
    asked.iter().filter(by_one_worker).try_for_each(|asked| {
        let newest = asked.known.keys().map(|(_, at)| *at).max();
        ensure(newest.is_none_or(|newest| newest <= asked.slot()), || {
            format!("3: {} knows the price of {newest:?} in the round of {}", asked.deployment, asked.slot())
        })
    })
}

/// Invariant 6: a round is never asked again, neither after a restart nor by a worker that takes over. Two of which neither
/// knows of the other may both ask it.
fn no_model_is_asked_twice_in_a_round(world: &World, asked: &[&Asked]) -> Checked {
    let mut rounds = BTreeMap::new();
    asked.iter().try_for_each(|asked| {
        let round = (&asked.model, &asked.asset, asked.horizon, asked.step, asked.slot());
        let times: &mut u32 = rounds.entry(round).or_default();
        *times += 1;
        let workers = if world.facts.had_rivals_in(asked.slot()) { 2 } else { 1 };
        ensure(*times <= workers, || format!("6: asked {times} times: {round:?}"))
    })
}

/// Invariant 5: one call at a time per model. A process that is called while it works on a call refuses; only one whose
/// caller has died, or is cut off, may be called so, by the next worker.
fn one_call_at_a_time(world: &World) -> Checked {
    let of_one_worker = |it: &&Deployment| !it.was_orphaned && !it.was_shared;
    world.deployments.iter().filter(of_one_worker).try_for_each(|deployment| {
        let refused = deployment.node.refused();
        ensure(refused == 0, || format!("5: {} was called {refused} times while busy", deployment.id))
    })
}

/// Invariant 4: a model is told of prices without a hole: who knows of one knows of all that were stored before it, as they
/// were stored last by then. Two workers that lead at once have ledgers of their own.
fn models_know_of_prices_without_a_hole(world: &World, asked: &[&Asked], record: &Record) -> Checked {
    let of_one_worker = |asked: &&&Asked| deployment(world, asked).is_some_and(|it| !it.was_shared);
    for asked in asked.iter().filter(of_one_worker) {
        let Some(newest) = record.ledger.iter().rposition(|entry| knows(asked, entry)) else { continue };
        let told = record.ledger[..=newest].iter().filter(|entry| is_history(asked, entry));
        let hole = in_force(told).find(|entry| !knows(asked, entry));
        ensure(hole.is_none(), || {
            let (deployment, slot, newest) = (&asked.deployment, asked.slot(), &record.ledger[newest]);
            format!("4: {deployment} knows {newest:?} in the round of {slot} and does not know {hole:?}")
        })?;
    }
    Ok(())
}

/// Invariant 4: a model that takes its ticks knows every price that the worker has before it is asked.
fn sound_models_know_every_price(world: &World, asked: &[&Asked], record: &Record) -> Checked {
    let is_sound = |asked: &&&Asked| {
        deployment(world, asked).is_some_and(|it| it.unsound_since.is_none_or(|since| since > asked.at))
    };
    for asked in asked.iter().filter(is_sound) {
        let was_there = |entry: &LedgerEntry| {
            let given = match world.facts.corrections.get(&entry.position) {
                Some(corrected) => Some(*corrected),
                None => world.prices.given_at(&entry.asset, entry.point.at),
            };
            given.is_some_and(|given| given <= asked.at)
        };
        let due = record.ledger.iter().filter(|entry| is_history(asked, entry) && was_there(entry));
        let unknown = in_force(due).find(|entry| !knows(asked, entry));
        ensure(unknown.is_none(), || {
            format!("4: {} does not know {unknown:?} in the round of {}", asked.deployment, asked.slot())
        })?;
    }
    Ok(())
}

fn deployment<'a>(world: &'a World, asked: &Asked) -> Option<&'a Deployment> {
    world.deployments.iter().find(|deployment| deployment.id == asked.deployment)
}

/// Of entries in the order of storing those that no later one corrects.
fn in_force<'a>(entries: impl Iterator<Item = &'a LedgerEntry>) -> impl Iterator<Item = &'a LedgerEntry> {
    let by_close: BTreeMap<_, _> = entries.map(|entry| ((&entry.asset, entry.point.at), entry)).collect();
    by_close.into_values()
}

fn knows(asked: &Asked, entry: &LedgerEntry) -> bool {
    let known = asked.known.get(&(entry.asset.clone(), entry.point.at));
    known == Some(&entry.point.price.value())
}

/// True for what a new model would be told in this round.
fn is_history(asked: &Asked, entry: &LedgerEntry) -> bool {
    entry.point.at <= asked.slot() && entry.point.at + HISTORY > asked.slot()
}

/// Invariant 2: slots are anchored, and a round's id follows from its question.
fn rounds_are_those_of_the_timetable(record: &Record) -> Checked {
    let timetables: Vec<_> = (0..TIMETABLES).map(timetable).collect();
    record.rounds.iter().try_for_each(|(id, round)| {
        let at = round.stored.performed_at;
        let is_asked = timetables.iter().any(|it| it.questions_at(&crunch(), at).contains(&round.question));
        ensure(is_asked && round.question.id == *id, || format!("2: no timetable has {}", round.question))
    })
}

/// Invariants 2 and 6: every slot of the timetable is on record, also those of a time in which no worker ran.
fn every_slot_is_on_record(world: &World, since: Timestamp, record: &Record) -> Checked {
    let Some(oldest) = record.rounds.values().map(|round| round.stored.performed_at).min() else {
        return Ok(());
    };
    let mut slot = oldest.max(since).ceil_to(INTERVAL);
    let now = world.now();
    // The slot of this minute may be waiting for its prices.
    while slot + INTERVAL <= now {
        let questions = world.facts.timetable_of(slot).map(|it| timetable(it).questions_at(&crunch(), slot));
        for question in questions.unwrap_or_default() {
            ensure(record.rounds.contains_key(&question.id), || {
                format!("2: nothing is on record of {question}")
            })?;
        }
        slot = slot + INTERVAL;
    }
    Ok(())
}

/// Invariant 7: slots are missed for reasons of ours or of the prices, and for no other than held at the time.
fn a_slot_is_missed_for_a_reason_of_its_time(world: &World, record: &Record) -> Checked {
    let facts = &world.facts;
    let is_cut = |slot: Timestamp| facts.cut.contains(&slot) || facts.cut.contains(&(slot - INTERVAL));
    let is_unscheduled = |round: &Round| {
        let at = round.stored.performed_at;
        let has =
            |life: &Life| timetable(life.timetable).questions_at(&crunch(), at).contains(&round.question);
        facts.asking(at).is_some_and(|life| !has(life))
    };
    of_state(record, RoundState::Missed).try_for_each(|round| {
        let slot = round.stored.performed_at;
        let reason = round.stored.reason.as_deref().unwrap_or_default();
        let is_so = match reason {
            _ if reason.starts_with("paused") => facts.was_paused(slot),
            _ if reason.starts_with("no fresh price") => {
                // Who is told to stop waits for no price.
                facts.unpriced.contains(&(round.stored.asset.clone(), slot)) || facts.was_cut_short(slot)
            }
            _ if reason.starts_with("starting") => facts.was_starting(slot),
            _ if reason.starts_with("the journal cannot be written") => {
                facts.was_full(slot, slot + INTERVAL) && is_cut(slot)
            }
            _ if reason.starts_with("not scheduled") => is_unscheduled(round) || facts.was_cut_short(slot),
            _ if reason.contains("not running") => {
                let is_evident = |asset: &Asset| !facts.unpriced.contains(&(asset.clone(), slot + INTERVAL));
                let was_seen = !is_unscheduled(round) || world.assets().iter().any(is_evident);
                facts.asking(slot).is_none()
                    || facts.was_cut_short(slot)
                    || facts.may_be_with_predecessor(slot)
                    || !was_seen
            }
            _ => false,
        };
        ensure(is_so, || format!("7: {} is missed, and that is no reason: `{reason}`", round.question))
    })
}

/// Invariant 7: while an operator has paused asking, slots are missed.
fn nobody_is_asked_while_asking_is_paused(world: &World, asked: &[&Asked]) -> Checked {
    asked.iter().try_for_each(|asked| {
        let is_paused = world.facts.is_known_to_be_paused(asked.slot());
        ensure(!is_paused, || {
            format!("7: {} is asked at {} although asking is paused", asked.deployment, asked.at)
        })
    })
}

/// Invariant 6: a round is interrupted when the worker died with it in flight.
fn a_round_is_interrupted_by_a_kill_only(world: &World, record: &Record) -> Checked {
    of_state(record, RoundState::Interrupted).try_for_each(|round| {
        let slot = round.stored.performed_at;
        let was_cut_short = world.facts.was_cut_short(slot) || world.facts.may_be_with_predecessor(slot);
        ensure(was_cut_short, || format!("6: {} is interrupted although nobody was killed", round.question))
    })
}

/// Invariant 6: outcomes that came at another time than the stored ones come of two workers that lead at once.
fn a_round_is_contested_by_two_workers_only(world: &World, record: &Record) -> Checked {
    let contested = record.rounds.values().filter(|round| round.stored.contested);
    contested.into_iter().try_for_each(|round| {
        let had_rivals = world.facts.had_rivals_in(round.stored.performed_at);
        ensure(had_rivals, || format!("6: {} is contested although one worker led", round.question))
    })
}

/// Invariant 6: what would be lost in a kill is told, until the journal is written again.
fn a_full_disk_is_told(world: &World, asked: &[&Asked]) -> Checked {
    let since = |instant: Option<Timestamp>| {
        instant.is_some_and(|since| asked.last().is_some_and(|asked| asked.slot() > since))
    };
    let is_told = || world.leaders().all(|status| status.journal_fault().is_some());
    let is_well = || world.leaders().all(|status| status.journal_fault().is_none());
    match (world.facts.full_since(), world.facts.room_since()) {
        (full, _) if since(full) => ensure(is_told(), || "6: nobody tells that the disk is full".into()),
        (None, room) if since(room) => ensure(is_well(), || "6: there is room on the disk again".into()),
        _ => Ok(()),
    }
}

/// Invariant 6: a round closes at the latest at its deadline, whatever the models do, and is stored.
fn no_round_stays_open(world: &World, record: &Record) -> Checked {
    of_state(record, RoundState::Asked).try_for_each(|round| {
        let deadline = round.stored.performed_at + CALL_TIMEOUT;
        ensure(world.now() < deadline + INTERVAL, || format!("6: {} is still open", round.question))
    })
}

/// Invariant 6: what a model has answered in time is stored, unless the worker died within 100 ms of it.
fn what_was_answered_in_time_is_stored(world: &World, asked: &[&Asked], record: &Record) -> Checked {
    for asked in asked {
        let Some(arrived) = asked.complete_at.filter(|at| *at <= asked.slot() + CALL_TIMEOUT) else {
            continue;
        };
        let is_over = world.now() > asked.slot() + CALL_TIMEOUT;
        if !is_over || world.facts.had_rivals_in(asked.slot()) || !world.facts.is_promised(asked.at, arrived)
        {
            continue;
        }
        let status = outcome_of(record, asked).map(|prediction| prediction.status);
        let expected =
            if is_bad(asked.manner) { PredictionStatus::Failed } else { PredictionStatus::Success };
        ensure(status == Some(expected), || {
            let Asked { deployment, asset, manner, .. } = asked;
            let slot = asked.slot();
            format!(
                "6: {deployment} ({manner:?}) answered on {asset} at {arrived} in the round of {slot}: stored is {status:?}"
            )
        })?;
    }
    Ok(())
}

/// Invariants 6 and 8: a stored answer is the one that this model gave in this round, in time, and a failure is one of its own.
fn outcomes_are_what_models_gave(world: &World, asked: &[Asked], record: &Record) -> Checked {
    for round in record.rounds.values() {
        for prediction in &round.predictions {
            let own = asked.iter().filter(|asked| is_part(asked, &prediction.model_id, round));
            let in_time = |asked: &&Asked| {
                asked.complete_at.is_some_and(|at| at <= asked.slot() + CALL_TIMEOUT)
                    && Some(&asked.deployment) == prediction.deployment_id.as_ref()
            };
            let mut own = own.filter(in_time);
            let is_so = match prediction.status {
                PredictionStatus::Success => {
                    let given = places_in(prediction)?;
                    own.any(|asked| given.iter().all(|place| *place == location(asked.number)))
                }
                PredictionStatus::Failed => {
                    own.any(|asked| is_bad(asked.manner)) || is_unsound(world, prediction, round)
                }
                PredictionStatus::Timeout | PredictionStatus::Absent => prediction.answer.is_none(),
            };
            ensure(is_so, || format!("6: {prediction:?} in {} is not what it gave", round.question))?;
        }
    }
    Ok(())
}

/// Invariants 6 and 7: a model that ran and answered all along is in every round, with a valid answer: TIMEOUT, ABSENT and
/// FAILED come of a model's own doing.
fn a_sound_model_is_never_at_fault(world: &World, record: &Record) -> Checked {
    for round in record.rounds.values() {
        let slot = round.stored.performed_at;
        let is_closed =
            [RoundState::Closed, RoundState::Scored, RoundState::Void].contains(&round.stored.state);
        if !is_closed || !world.facts.saw_through(slot) {
            continue;
        }
        let deadline = slot + CALL_TIMEOUT;
        let lasted = |end: Option<Timestamp>| end.is_none_or(|end| end > deadline);
        let sound = world.deployments.iter().filter(|deployment| {
            deployment.since < slot && lasted(deployment.until) && lasted(deployment.unsound_since)
        });
        for deployment in sound {
            let part = round.predictions.iter().find(|prediction| prediction.model_id == deployment.model);
            let is_well = part.is_some_and(|it| it.status == PredictionStatus::Success);
            ensure(is_well, || {
                format!("7: {} was sound, and in {} it is {part:?}", deployment.id, round.question)
            })?;
        }
    }
    Ok(())
}

/// Invariant 10: scores follow from what is stored, corrections of prices included once a score worker has seen to them; a
/// round is void for a reason that follows from it too, or by hand.
fn scores_are_a_pure_function(world: &World, record: &Record) -> Checked {
    for round in record.rounds.values().filter(|round| !record.is_being_corrected(round)) {
        let expected = match round.stored.state {
            RoundState::Scored => verdict(world, record, round),
            RoundState::Void if round.stored.rule.as_deref() == Some(BY_HAND) => {
                let is_voided = world.facts.voided.get(&round.question.id) == Some(&true);
                ensure(is_voided, || format!("10: no operator voided {}", round.question))?;
                continue;
            }
            RoundState::Void => verdict(world, record, round),
            _ => {
                ensure(round.scores.is_empty(), || format!("10: {} has scores", round.question))?;
                continue;
            }
        };
        let stored = stored_verdict(round);
        ensure(stored == expected, || {
            format!("10: {} is {stored}, and computed afresh {expected}", round.question)
        })?;
    }
    Ok(())
}

/// Invariant 9: nobody sees an open round's answers.
fn no_answer_of_an_open_round_is_shown(world: &World, record: &Record) -> Checked {
    let is_open = |round: &&Round| round.stored.resolves_at > world.now();
    let mut secret = BTreeSet::new();
    for prediction in record.rounds.values().filter(is_open).flat_map(|round| &round.predictions) {
        if prediction.answer.is_some() {
            secret.extend(places_in(prediction)?.into_iter().map(f64::to_bits));
        }
    }
    if secret.is_empty() {
        return Ok(());
    }
    world.pages().iter().try_for_each(|page| {
        let shown = page.numbers().find(|number| secret.contains(&number.to_bits()));
        ensure(shown.is_none(), || {
            format!("9: {} shows {shown:?}, of an open round: {}", page.path, page.text)
        })
    })
}

/// Invariants 10 and 12: windows hold the rounds that are scored now, each once: none that was voided since.
fn windows_hold_the_scored_rounds(world: &World) -> Checked {
    if !world.is_ranked() {
        return Ok(());
    }
    let (rounds, leaderboard, standings, is_behind) = world.read(|store| async move {
        let (first, last) = (Timestamp::UNIX_EPOCH, Timestamp::MAX_UTC);
        let rounds = store.export_rounds(first, last, None, usize::MAX).await.unwrap();
        let ranked = store.ranked_up_to().await.unwrap();
        let is_behind = store.earliest_change(ranked, first).await.unwrap().is_some();
        let standings = store.latest_standings().await.unwrap();
        (rounds, store.latest_leaderboard().await.unwrap(), standings, is_behind)
    });
    let (Some(leaderboard), Some(standings), false) = (leaderboard, standings, is_behind) else {
        return Ok(());
    };
    let is_in =
        |round: &&ExportedRound| round.state == RoundState::Scored && round.resolves_at <= leaderboard.as_of;
    let mut scored: BTreeMap<Parameter, u64> = BTreeMap::new();
    for ExportedRound { asset, horizon, counts, .. } in rounds.iter().filter(is_in) {
        let parameter = Parameter { asset: asset.clone(), horizon: *horizon };
        *scored.entry(parameter).or_default() += counts.total();
    }
    scored.retain(|_, predictions| *predictions > 0);
    let held = predictions_in(&standings);
    ensure(held == scored, || {
        format!(
            "12: the windows of {} hold {held:?} predictions, and scored are {scored:?}",
            leaderboard.as_of
        )
    })
}

/// How many predictions of all models the longest windows hold.
fn predictions_in(standings: &Standings) -> BTreeMap<Parameter, u64> {
    let mut held = BTreeMap::new();
    for standing in standings.models.iter().flat_map(|model| &model.parameters) {
        *held.entry(standing.parameter.clone()).or_default() += standing.windows.anchor.predictions;
    }
    held
}

/// Invariants 1, 2 and 6: every round has come to an end: scored, void, missed or interrupted.
fn every_round_has_ended(record: &Record) -> Checked {
    record.rounds.values().try_for_each(|round| {
        let has_ended = ![RoundState::Asked, RoundState::Closed].contains(&round.stored.state);
        ensure(has_ended, || format!("6: in the end {} is {}", round.question, round.stored.state))
    })
}

/// Invariant 10: in the end no score rests on a price that was corrected.
fn scores_follow_every_correction(record: &Record) -> Checked {
    record.rounds.values().try_for_each(|round| {
        let follows = !record.is_being_corrected(round);
        ensure(follows, || {
            format!("10: in the end {} has the scores of a price that was corrected", round.question)
        })
    })
}

/// Invariant 11: same input, same bits, however often and by whom rounds were scored.
fn the_leaderboard_equals_one_computed_afresh(world: &World, record: &Record) -> Checked {
    let has_scores = of_state(record, RoundState::Scored).next().is_some();
    let (Some(leaderboard), Some(standings)) = (&record.leaderboard, &record.standings) else {
        return ensure(!has_scores, || "11: there is no leaderboard".into());
    };
    let afresh = afresh::standings(record, leaderboard.as_of);
    ensure(format!("{standings:?}") == format!("{afresh:?}"), || {
        format!("11: the standings are\n{standings:?}\nand computed afresh\n{afresh:?}")
    })?;
    let ranked: Vec<&ModelId> = leaderboard
        .entries
        .iter()
        .filter(|entry| entry.rank.is_some())
        .map(|entry| &entry.model_id)
        .collect();
    let expected = afresh::ranking(&afresh, &world.facts.excluded);
    ensure(ranked == expected, || format!("11: ranked are {ranked:?}, and computed afresh {expected:?}"))
}

/// Invariant 10: who is excluded has no place, and everybody knows.
fn excluded_models_have_no_place(world: &World, record: &Record) -> Checked {
    let excluded = &world.facts.excluded;
    ensure(record.excluded == *excluded, || format!("10: excluded are {:?}", record.excluded))?;
    let Some(leaderboard) = &record.leaderboard else { return Ok(()) };
    let has_place = leaderboard.entries.iter().any(|entry| excluded.contains(&entry.model_id));
    ensure(!has_place && leaderboard.excluded == *excluded, || {
        format!("10: the leaderboard excludes {:?}, not {excluded:?}", leaderboard.excluded)
    })
}

fn of_state(record: &Record, state: RoundState) -> impl Iterator<Item = &Round> {
    record.rounds.values().filter(move |round| round.stored.state == state)
}

fn is_bad(manner: Manner) -> bool {
    matches!(manner, Manner::Garbage | Manner::TooFew | Manner::Raise)
}

fn is_part(asked: &Asked, model: &ModelId, round: &Round) -> bool {
    let stored = &round.stored;
    asked.model == *model
        && asked.slot() == stored.performed_at
        && asked.asset == stored.asset
        && asked.horizon == stored.horizon
        && stored.steps == [asked.step]
}

fn outcome_of<'a>(record: &'a Record, asked: &Asked) -> Option<&'a Prediction> {
    let round = record.rounds.values().find(|round| is_part(asked, &asked.model, round))?;
    round.predictions.iter().find(|prediction| prediction.model_id == asked.model)
}

/// A deployment that was unsound by the end of a round may have failed for more than its answer.
fn is_unsound(world: &World, prediction: &Prediction, round: &Round) -> bool {
    let deadline = round.stored.performed_at + CALL_TIMEOUT;
    let mut own = world
        .deployments
        .iter()
        .filter(|deployment| Some(&deployment.id) == prediction.deployment_id.as_ref());
    own.any(|deployment| deployment.unsound_since.is_some_and(|since| since <= deadline))
}

/// Where the densities of a stored answer are.
fn places_in(prediction: &Prediction) -> Result<Vec<f64>, String> {
    let answer = prediction.answer.as_ref().ok_or("6: a success without an answer")?;
    let json = PackedAnswer::new(answer).to_json().map_err(|error| format!("6: unreadable: {error}"))?;
    let densities: Vec<serde_json::Value> = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    Ok(densities.iter().filter_map(|density| density["params"]["loc"].as_f64()).collect())
}

/// The closes of a round's asset as they are known now.
fn closes_known(record: &Record, round: &Round) -> Vec<PricePoint> {
    let of_asset = record.ledger.iter().filter(|entry| entry.asset == round.stored.asset);
    in_force(of_asset).map(|entry| entry.point).collect()
}

/// What scoring says of a round, to the bit, from what is stored now.
fn verdict(world: &World, record: &Record, round: &Round) -> String {
    let settings = score_settings();
    let now = world.now();
    let closes = closes_known(record, round);
    let newest = closes.last().map(|close| close.at);
    let steps = match settle(&round.question, &closes, &settings.settlement, now, newest) {
        Settlement::Settled(steps) => steps,
        Settlement::Waiting { instant } => return format!("waiting for {instant}"),
        Settlement::Void { reason } => return format!("void: {reason}"),
    };
    let answers: Vec<_> = round.predictions.iter().map(|prediction| prediction.answer.as_ref()).collect();
    match score_round(&round.question, &answers, &steps, &settings.scoring) {
        RoundOutcome::Void { reason } => format!("void: {reason}"),
        RoundOutcome::Scored { best, q95, predictions } => {
            let scores: BTreeMap<&ModelId, _> = round
                .predictions
                .iter()
                .zip(&predictions)
                .filter_map(|(prediction, score)| Some((&prediction.model_id, score.as_ref().ok()?)))
                .map(|(model, score)| (model, in_words(score.raw, score.relative, score.failure.as_deref())))
                .collect();
            format!("{:?} {:?} {best:?} {q95:?} {scores:?}", settings.stamp(), RoundState::Scored)
        }
    }
}

/// The same of what is stored.
fn stored_verdict(round: &Round) -> String {
    let stored = &round.stored;
    if stored.state == RoundState::Void {
        return format!("void: {}", stored.reason.as_deref().unwrap_or_default());
    }
    let scores: BTreeMap<&ModelId, String> = round
        .scores
        .iter()
        .map(|score| (&score.model_id, in_words(score.raw, score.relative, score.failure.as_deref())))
        .collect();
    let rule = stored.rule.as_deref().unwrap_or_default();
    let (best, q95) = (stored.best.unwrap_or(f64::NAN), stored.q95.unwrap_or(f64::NAN));
    format!("{rule:?} {:?} {best:?} {q95:?} {scores:?}", stored.state)
}

fn in_words(raw: Option<f64>, relative: f64, failure: Option<&str>) -> String {
    format!("{raw:?} {relative:?} {failure:?}")
}
