//! Installing what the tests need, where that can be done without asking: Debian and Ubuntu, as root or with a sudo that
//! wants no password.

use anyhow::{Context, Result, bail};

use crate::shell;

/// Installs Debian packages; `purpose` says what for.
pub fn packages(names: &[&str], purpose: &str) -> Result<()> {
    let list = names.join(" ");
    let by_hand = format!("{purpose} needs {list}: install it with your system's package manager");
    if shell::which("apt-get").is_none() {
        bail!("{by_hand}");
    }
    let Some(prefix) = become_root() else {
        bail!("{by_hand} (sudo apt-get install {list})");
    };
    println!("installing {list} with apt-get: {purpose} needs it");
    apt_get(prefix, &["update", "--quiet=2"]).with_context(|| by_hand.clone())?;
    let install = [&["install", "--yes", "--quiet=2", "--no-install-recommends"], names].concat();
    apt_get(prefix, &install).context(by_hand)
}

/// The words before a command that make it run as root; `None` when that would take a password.
fn become_root() -> Option<&'static [&'static str]> {
    if nix::unistd::geteuid().is_root() {
        return Some(&[]);
    }
    shell::succeeds(&mut shell::command("sudo", &["-n", "true"])).then_some(&["sudo", "-n"])
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Result<()> {
    let words = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
    shell::run(&mut shell::command(words[0], &words[1..]))
}
