//! What the journal promises: order, all or nothing, one owner, bounded size.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;
use std::time::Duration;

use domain::{
    Asset, CrunchId, DeploymentId, Method, ModelId, Prediction, PredictionStatus, Question, Span, Target,
    Timestamp,
};
use journal::{DEFAULT_MAX_BYTES, Journal, JournalError, Owner, Record, Seq};

fn owner(crunch: &str, database: &str) -> Owner {
    Owner { crunch_id: CrunchId::new(crunch).unwrap(), database: database.into() }
}

async fn open(folder: &Path) -> Journal {
    let path = folder.join("of/the/worker.db");
    loop {
        // The threads of connections that were dropped just now close them in their own time.
        match Journal::open(&path, &owner("condor", "sqlite:///c.db"), DEFAULT_MAX_BYTES).await {
            Err(JournalError::Locked(_)) => tokio::task::yield_now().await,
            journal => return journal.unwrap(),
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_timestamp(1_747_699_200 + second, 123_456_000).unwrap()
}

fn question(second: i64) -> Question {
    let crunch = CrunchId::new("condor").unwrap();
    let asset = Asset::new("BTC").unwrap();
    Question::new(
        &crunch,
        asset,
        Span::HOUR,
        vec![Span::HOUR],
        Method::Predict,
        Target::LogReturn,
        at(second),
    )
}

fn outcome(model: &str) -> Prediction {
    Prediction {
        model_id: ModelId::new(model).unwrap(),
        deployment_id: Some(DeploymentId::new("d1").unwrap()),
        status: PredictionStatus::Success,
        reason: Some("a \0 and a \"quote\"".into()),
        answer: Some(vec![0, 255, b'"'].into()),
        refused: Some("refused".into()),
        received_at: Some(at(3)),
        took: Some(Duration::from_micros(1_234_567)),
    }
}

fn asked(second: i64) -> Record {
    Record::Asked { questions: vec![question(second)], at: at(second) }
}

async fn records(journal: &Journal) -> Vec<Record> {
    let end = journal.end().await.unwrap();
    let entries = journal.read(Seq(0), end, 1000).await.unwrap();
    entries.into_iter().map(|entry| entry.record.unwrap()).collect()
}

#[tokio::test]
async fn what_was_committed_comes_back_in_order_and_to_the_bit_after_another_start() {
    let folder = tempfile::tempdir().unwrap();
    let written = [
        asked(0),
        Record::Missed { questions: vec![question(1)], reason: "a test".into(), at: at(1) },
        Record::Closed { question: question(0), closed_at: at(2) },
        Record::Prices(Vec::new()),
    ];
    let (first, second) = (outcome("first"), outcome("second"));
    let id = question(0).id;
    let journal = open(folder.path()).await;
    journal.append(at(5), &[&written[0]], &[(id, &first)]).await.unwrap();
    journal.append(at(6), &[&written[1], &written[2], &written[3]], &[(id, &second)]).await.unwrap();
    drop(journal);
    let journal = open(folder.path()).await;
    assert_eq!(records(&journal).await, written);
    assert_eq!(journal.outcomes(id).await.unwrap(), [first, second]);
    assert_eq!(journal.rounds().await.unwrap(), [id]);
    let entries = journal.read(Seq(1), Seq(3), 1).await.unwrap();
    assert_eq!(entries.iter().map(|entry| (entry.seq, entry.at)).collect::<Vec<_>>(), [(Seq(2), at(6))]);
}

#[tokio::test]
async fn what_is_removed_is_gone_and_its_place_is_never_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let (stored, open_round) = (question(0).id, question(1).id);
    let it = outcome("m");
    let places = journal.append(at(5), &[&asked(0), &asked(1)], &[(stored, &it), (open_round, &it)]).await;
    let places = places.unwrap();
    journal.remove(places[1], &[stored]).await.unwrap();
    assert!(records(&journal).await.is_empty());
    assert_eq!(journal.rounds().await.unwrap(), [open_round]);
    drop(journal);
    let journal = open(folder.path()).await;
    let next = journal.append(at(6), &[&asked(2)], &[]).await.unwrap();
    assert!(next[0] > places[1], "{next:?} after {places:?}");
}

#[tokio::test]
async fn what_is_set_aside_is_kept_and_out_of_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let closed = Record::Closed { question: question(0), closed_at: at(2) };
    let it = outcome("m");
    let id = question(0).id;
    let places = journal.append(at(5), &[&closed, &asked(1)], &[(id, &it)]).await.unwrap();
    journal.set_aside(places[0], Some(id), "no such column").await.unwrap();
    assert_eq!(records(&journal).await, [asked(1)]);
    assert!(journal.rounds().await.unwrap().is_empty());
    assert_eq!(journal.refused().await.unwrap(), 2);
}

#[tokio::test]
async fn a_journal_has_one_worker_at_a_time_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mine = owner("condor", "sqlite:///c.db");
    let _journal = Journal::open(&path, &mine, DEFAULT_MAX_BYTES).await.unwrap();
    let error = Journal::open(&path, &mine, DEFAULT_MAX_BYTES).await.err().unwrap().to_string();
    assert!(error.contains("another predict worker uses the journal") && error.contains("j.db"), "{error}");
}

#[tokio::test]
async fn records_of_another_crunch_or_database_are_refused_but_an_empty_journal_is_anybodys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let open = async |owner: &Owner| loop {
        match Journal::open(&path, owner, DEFAULT_MAX_BYTES).await {
            Err(JournalError::Locked(_)) => tokio::task::yield_now().await,
            journal => return journal,
        }
    };
    let (mine, others) = (owner("condor", "sqlite:///c.db"), owner("condor", "postgres://host/db"));
    drop(open(&others).await.unwrap());
    let journal = open(&mine).await.unwrap();
    let places = journal.append(at(0), &[&asked(0)], &[]).await.unwrap();
    drop(journal);
    for other in [&others, &owner("falcon", "sqlite:///c.db")] {
        let error = open(other).await.err().unwrap().to_string();
        assert!(error.contains("crunch condor for the database sqlite:///c.db"), "{error}");
    }
    let journal = open(&mine).await.unwrap();
    journal.remove(places[0], &[]).await.unwrap();
    drop(journal);
    open(&others).await.unwrap();
}

#[tokio::test]
async fn a_full_journal_refuses_the_whole_append_and_takes_it_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let journal = Journal::open(&path, &owner("condor", "sqlite:///c.db"), 256 * 1024).await.unwrap();
    let id = question(0).id;
    let long = Prediction { answer: Some(vec![b'x'; 50_000].into()), ..outcome("m") };
    let mut committed = 0;
    let error = loop {
        match journal.append(at(0), &[&asked(0)], &[(id, &long)]).await {
            Ok(_) => committed += 1,
            Err(error) => break error.to_string(),
        }
        assert!(committed < 100, "it never fills");
    };
    assert!(error.contains("full"), "{error}");
    assert_eq!(records(&journal).await.len(), committed);
    assert_eq!(journal.outcomes(id).await.unwrap().len(), committed);
    let size = || std::fs::metadata(&path).unwrap().len();
    for _ in 0..20 {
        journal.remove(journal.end().await.unwrap(), &[id]).await.unwrap();
        journal.append(at(0), &[&asked(0)], &[(id, &long)]).await.unwrap();
    }
    assert!(size() <= 256 * 1024, "room that became free is used again: {} bytes", size());
}

#[tokio::test]
async fn the_room_of_an_outage_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let journal = Journal::open(&path, &owner("condor", "sqlite:///c.db"), DEFAULT_MAX_BYTES).await.unwrap();
    let id = question(0).id;
    let long = Prediction { answer: Some(vec![b'x'; 10_000_000].into()), ..outcome("m") };
    for _ in 0..10 {
        journal.append(at(0), &[], &[(id, &long)]).await.unwrap();
    }
    assert!(journal.size_bytes() > 100_000_000, "{}", journal.size_bytes());
    journal.remove(Seq(0), &[id]).await.unwrap();
    for _ in 0..20 {
        journal.give_room_back().await.unwrap();
    }
    journal.append(at(0), &[&asked(0)], &[]).await.unwrap();
    drop(journal);
    // Closing the last connection brings everything into the file itself.
    let wait = async {
        while std::fs::metadata(&path).unwrap().len() > 70_000_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the file shrinks");
}
