//! Nothing unfinished is committed: no notes to oneself, no placeholders, no debug output.

use super::{Finding, SourceFile};

const SOURCES: &[&str] = &["rs", "py", "toml", "sql", "proto", "html", "css", "js", "yml", "yaml", "sh"];

// In two parts, so that this file is not found by its own rule.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];
const MACROS: &[&str] = &[concat!("todo", "!"), concat!("dbg", "!")];

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| is_source(file)).flat_map(check_source).collect()
}

fn is_source(file: &SourceFile) -> bool {
    file.path == ".ci/run" || SOURCES.iter().any(|extension| file.has_extension(extension))
}

fn check_source(file: &SourceFile) -> Vec<Finding> {
    let fault = |(number, line)| leftover_in(line).map(|word| (number, word));
    let finding = |(number, word)| {
        file.finding(number, format!("`{word}` is left over: do it now, or open an issue and remove it"))
    };
    file.lines().filter_map(fault).map(finding).collect()
}

fn leftover_in(line: &str) -> Option<&'static str> {
    let is_word = |note: &str| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == note);
    let calls = |name: &str| {
        let before = |(at, _)| line[..at].chars().next_back();
        line.match_indices(name).map(before).any(|c| c.is_none_or(|c| !c.is_alphanumeric() && c != '_'))
    };
    let note = NOTES.iter().find(|note| is_word(note));
    note.or_else(|| MACROS.iter().find(|name| calls(name))).copied()
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::*;

    #[test]
    fn leftovers_are_found_in_every_kind_of_source() {
        for (i, word) in NOTES.iter().chain(MACROS).enumerate() {
            let path = format!("crates/x/file.{}", SOURCES[i]);
            let expected =
                format!("{path}:2: `{word}` is left over: do it now, or open an issue and remove it");
            assert_eq!(texts(check(&[file(&path, &format!("\n  ({word}(x)"))])), [expected]);
        }
        assert_eq!(check(&[file(".ci/run", &format!("# {}: more", NOTES[0]))]).len(), 1);
    }

    #[test]
    fn other_words_and_other_files_are_left_alone() {
        let harmless = format!("my{}x, not_{}(), {}N'T", NOTES[0], MACROS[1], NOTES[0]);
        assert!(check(&[file("a.rs", &harmless)]).is_empty());
        assert!(check(&[file("notes.md", NOTES[0])]).is_empty());
    }
}
