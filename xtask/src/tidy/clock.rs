//! Time is a parameter: one file reads the system clock. Clippy bans the same calls, where it compiles them; this rule
//! also sees code behind other platforms' conditions and the attribute that would lift clippy's ban.

use super::{Finding, SourceFile};

const THE_ONE_PLACE: &str = "crates/domain/src/clock.rs";

// In two parts, so that this file is not found by its own rule.
const READS: &[&str] = &[
    concat!("SystemTime", "::now"),
    concat!("Instant", "::now"),
    concat!("Utc", "::now"),
    concat!("Local", "::now"),
    concat!("UNIX_EPOCH", ".elapsed"),
];
const LIFTED_BAN: &str = concat!("clippy::disallowed", "_methods");

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let sources = files.iter().filter(|file| file.has_extension("rs") && file.path != THE_ONE_PLACE);
    sources.flat_map(check_source).collect()
}

fn check_source(file: &SourceFile) -> Vec<Finding> {
    let code = file.lines().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter_map(|(number, line)| fault_of(line).map(|fault| file.finding(number, fault))).collect()
}

fn fault_of(line: &str) -> Option<String> {
    if let Some(read) = READS.iter().find(|read| line.contains(**read)) {
        return Some(format!(
            "{read} reads the system clock: take a domain::Clock, or domain::Stopwatch to measure"
        ));
    }
    let lifts = line.contains(LIFTED_BAN);
    lifts.then(|| format!("{LIFTED_BAN} may be allowed in {THE_ONE_PLACE} alone: take a domain::Clock"))
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::*;

    #[test]
    fn reading_the_clock_is_found_anywhere_but_in_its_one_place() {
        for read in READS {
            let text = format!("fn main() {{\n    let now = std::time::{read}();\n}}\n");
            let expected = format!(
                "crates/condor/tests/up.rs:2: {read} reads the system clock: take a domain::Clock, or \
                 domain::Stopwatch to measure"
            );
            assert_eq!(texts(check(&[file("crates/condor/tests/up.rs", &text)])), [expected]);
            assert!(check(&[file(THE_ONE_PLACE, &text)]).is_empty());
        }
    }

    #[test]
    fn lifting_clippys_ban_is_found() {
        let text = format!("#![allow({LIFTED_BAN})]\n");
        assert_eq!(check(&[file("crates/feeds/src/lib.rs", &text)]).len(), 1);
    }

    #[test]
    fn words_about_the_clock_are_left_alone() {
        let text = format!("/// Never {}.\nlet stopwatch = Stopwatch::start();\n", READS[0]);
        assert!(check(&[file("crates/feeds/src/lib.rs", &text)]).is_empty());
    }
}
