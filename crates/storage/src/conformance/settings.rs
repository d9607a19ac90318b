//! The settings that workers work with.

use futures::future::join_all;

use super::TestDatabase;
use super::samples::*;
use crate::{AuditEntry, CHANGE_SETTING, SettingChange};

fn change(key: &str, from: &str, to: &str) -> SettingChange {
    SettingChange { key: key.to_owned(), from: from.to_owned(), to: to.to_owned() }
}

pub async fn a_changed_setting_is_on_record_once_however_many_workers_note_it(database: &impl TestDatabase) {
    let (first, second) = (database.open_migrated().await, database.open().await);
    let before = [("a", "1"), ("b", "\"x\"")];
    assert_eq!(first.note_settings(&note(1, &before)).await.unwrap(), []);
    assert_eq!(second.note_settings(&note(2, &before)).await.unwrap(), []);
    assert_eq!(first.audit(9).await.unwrap(), [], "the first note is no change");

    let changed = [("a", "2"), ("b", "\"y\""), ("c", "new")];
    let changes = [change("a", "1", "2"), change("b", "\"x\"", "\"y\"")];
    assert_eq!(first.note_settings(&note(3, &changed)).await.unwrap(), changes);
    assert_eq!(second.note_settings(&note(4, &changed)).await.unwrap(), []);
    // Another kind of worker knows other settings.
    assert_eq!(second.note_settings(&note(5, &[("d", "4")])).await.unwrap(), []);
    assert_eq!(second.note_settings(&note(6, &[("a", "1")])).await.unwrap(), [change("a", "2", "1")]);

    let entry = |number, at, key: &str, reason: &str| AuditEntry {
        number,
        at: minute(at),
        by: format!("hand {at}"),
        action: CHANGE_SETTING.to_owned(),
        subject: Some(key.to_owned()),
        reason: reason.to_owned(),
    };
    let expected = [
        entry(3, 6, "a", "from 2 to 1"),
        entry(2, 3, "b", "from \"x\" to \"y\""),
        entry(1, 3, "a", "from 1 to 2"),
    ];
    assert_eq!(first.audit(9).await.unwrap(), expected);
}

pub async fn settings_noted_at_once_are_one_change(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.note_settings(&note(1, &[("a", "1"), ("b", "1")])).await.unwrap();
    let workers = (0..8).map(|_| async {
        let worker = database.open().await;
        worker.note_settings(&note(2, &[("a", "2"), ("b", "2")])).await.unwrap().len()
    });
    let changes: usize = join_all(workers).await.into_iter().sum();
    assert_eq!((changes, store.audit(99).await.unwrap().len()), (2, 2));
}
