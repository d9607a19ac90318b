//! How a SQLite database is opened.

use storage::{StorageError, Store};
use storage_sqlite::SqliteStore;

#[tokio::test]
async fn opening_makes_the_folder_and_the_file_and_no_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new folder/deep/condor.db");
    let store = SqliteStore::open(&format!("sqlite://{}", file.display())).await.unwrap();
    assert!(file.exists());
    assert!(matches!(store.check_schema().await, Err(StorageError::SchemaTooOld { found: 0, .. })));
}

#[tokio::test]
async fn opening_for_reading_makes_nothing_and_says_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("condor.db");
    let error = SqliteStore::open_read_only(&format!("sqlite://{}", file.display())).await.unwrap_err();
    assert!(error.to_string().ends_with("run `condor db migrate`"), "{error}");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let url = format!("sqlite://{}/sub/condor.db", file.display());
    let error = SqliteStore::open(&url).await.unwrap_err();
    assert!(matches!(error, StorageError::InvalidUrl { .. }), "{error}");
    assert!(error.to_string().contains("cannot make the folder"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("condor.db");
    std::fs::write(&file, "this is a text and no database, and long enough to be read as one".repeat(99))
        .unwrap();
    let error = SqliteStore::open(&format!("sqlite://{}", file.display())).await.unwrap_err();
    assert!(matches!(error, StorageError::Refused(_)), "{error}");
}
