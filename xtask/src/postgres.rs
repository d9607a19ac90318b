//! A throw-away PostgreSQL: its own folder and port, reachable from this machine only, gone with the process that
//! started it, however that ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use domain::Stopwatch;
use nix::unistd::User;

use crate::{install, shell};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Keeps a server while its standard input is open. The pipe closes when its starter ends, be it by a panic or `kill -9`,
/// so that nothing stays behind. Arguments: the server, its folder, its port.
const SUPERVISOR: &str = r#"
"$1" -D "$2/data" -p "$3" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories="$2" \
    -c fsync="$4" -c synchronous_commit="$4" -c full_page_writes="$4" -c max_connections=300 >"$2/log" 2>&1 &
server=$!
cat
kill -QUIT "$server"
wait "$server"
cd /
rm -rf "$2"
"#;

/// Whether what is committed survives a power cut.
#[derive(Clone, Copy)]
pub enum Durability {
    /// No: tests take a fraction of the time.
    None,
    /// Yes, as in production: for measurements.
    Full,
}

/// A running server; dropping it stops it and removes its files.
pub struct Server {
    supervisor: Child,
    port: u16,
}

impl Server {
    /// Starts a server, after installing PostgreSQL if it is missing.
    pub fn start(durability: Durability) -> Result<Self> {
        let programs = find_or_install()?;
        let owner = owner()?;
        let folder = tempfile::Builder::new().prefix("condor-pg-").tempdir()?;
        if let Some(owner) = &owner {
            chown(folder.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        initialise(&programs, folder.path(), owner.as_ref())?;

        let port = free_port()?;
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "postgres-supervisor"]);
        command.arg(programs.join("postgres")).arg(folder.path()).arg(port.to_string());
        command.arg(match durability {
            Durability::None => "off",
            Durability::Full => "on",
        });
        // A group of its own: Ctrl-C on the terminal reaches us alone, and the supervisor then cleans up.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let supervisor = as_user(&mut command, folder.path(), owner.as_ref())
            .spawn()
            .context("cannot start PostgreSQL")?;
        let server = Server { supervisor, port };
        wait_until_ready(&folder.keep())?;
        Ok(server)
    }

    /// The address of its one database; no password is asked for.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        if let Err(error) = self.supervisor.wait() {
            eprintln!("the throw-away PostgreSQL may still run: {error}");
        }
    }
}

/// Runs a server until Ctrl-C.
pub fn run_in_foreground() -> Result<()> {
    let server = Server::start(Durability::None)?;
    println!("{}", server.url());
    eprintln!("running until Ctrl-C; for the tests: export TEST_POSTGRES_URL={}", server.url());
    // Ctrl-C ends this process, and with it the pipe that keeps the server.
    loop {
        std::thread::park();
    }
}

/// The folder of PostgreSQL's programs.
fn find_or_install() -> Result<PathBuf> {
    if let Some(programs) = find() {
        return Ok(programs);
    }
    install::packages(&["postgresql"], "the throw-away PostgreSQL of the tests")?;
    find().context(
        "PostgreSQL was installed, but initdb is neither on the PATH nor in /usr/lib/postgresql/*/bin",
    )
}

fn find() -> Option<PathBuf> {
    let is_complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let on_path = shell::which("initdb").and_then(|initdb| initdb.parent().map(Path::to_owned));
    on_path.filter(is_complete).or_else(|| newest_in(Path::new("/usr/lib/postgresql")).filter(is_complete))
}

/// Debian keeps each major version in a folder of its own.
fn newest_in(versions: &Path) -> Option<PathBuf> {
    let version = |entry: &fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
    let newest = fs::read_dir(versions).ok()?.flatten().filter_map(|entry| version(&entry)).max()?;
    Some(versions.join(newest.to_string()).join("bin"))
}

/// Whom to become, as PostgreSQL refuses to run as root: `None` to stay who we are.
fn owner() -> Result<Option<User>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`: run as another user"
    )
}

fn as_user<'a>(command: &'a mut Command, folder: &Path, owner: Option<&User>) -> &'a mut Command {
    command.current_dir(folder);
    match owner {
        Some(owner) => command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw()),
        None => command,
    }
}

fn initialise(programs: &Path, folder: &Path, owner: Option<&User>) -> Result<()> {
    let mut command = Command::new(programs.join("initdb"));
    command.args([
        "--no-sync",
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--no-locale",
        "--pgdata",
    ]);
    command.arg(folder.join("data"));
    shell::output(as_user(&mut command, folder, owner)).map(drop)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The server itself writes `ready` into the eighth line of its lock file.
fn wait_until_ready(folder: &Path) -> Result<()> {
    let is_ready = || {
        let lock = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        lock.lines().nth(7).is_some_and(|status| status.trim() == "ready")
    };
    let waiting = Stopwatch::start();
    while !is_ready() {
        if waiting.elapsed() > START_TIMEOUT {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            bail!("PostgreSQL was not ready within {START_TIMEOUT:?}; its log says:\n{log}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_and_is_gone_when_dropped() {
        if find().is_none() {
            println!("skipped: there is no PostgreSQL on this machine");
            return;
        }
        let server = Server::start(Durability::None).unwrap();
        let port = server.port;
        assert_eq!(server.url(), format!("postgres://postgres@127.0.0.1:{port}/postgres"));
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(answers());
        drop(server);
        assert!(!answers());
    }
}
