//! Both databases have the same migrations, by name.

use std::collections::BTreeSet;

use super::{Finding, SourceFile};

const FOLDERS: [&str; 2] = ["crates/storage-postgres/migrations/", "crates/storage-sqlite/migrations/"];

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let [postgres, sqlite] = FOLDERS;
    [missing_twins(files, postgres, sqlite), missing_twins(files, sqlite, postgres)].concat()
}

fn missing_twins(files: &[SourceFile], here: &str, there: &str) -> Vec<Finding> {
    let twins: BTreeSet<&str> = files.iter().filter_map(|file| file.path.strip_prefix(there)).collect();
    let finding = |file: &SourceFile| {
        let name = file.path.strip_prefix(here).filter(|name| !twins.contains(name))?;
        Some(file.finding(1, format!("it has no twin {there}{name}: both databases need every migration")))
    };
    files.iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::*;

    #[test]
    fn a_migration_of_one_database_alone_is_found() {
        let [postgres, sqlite] = FOLDERS.map(|folder| file(&format!("{folder}0001_first.sql"), ""));
        let lone = file("crates/storage-postgres/migrations/0002_more.sql", "");
        assert_eq!(
            texts(check(&[postgres, sqlite, lone])),
            ["crates/storage-postgres/migrations/0002_more.sql:1: it has no twin \
              crates/storage-sqlite/migrations/0002_more.sql: both databases need every migration"]
        );
        let lone = file("crates/storage-sqlite/migrations/0001_first.sql", "");
        assert_eq!(check(&[lone]).len(), 1);
    }
}
