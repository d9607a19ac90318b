//! A throw-away PostgreSQL: its own folder and port, reachable from this machine only, gone with the process that
//! started it, however that ends.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use domain::Stopwatch;
use nix::unistd::User;

/// How long a start and a stop may take.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Keeps a server while its standard input is open, and stops and starts it as lines there say. The pipe closes when its
/// starter ends, be it by a panic or `kill -9`, so that nothing stays behind. Arguments: the server, its folder, its port,
/// whether it is to survive a power cut, how long its write-ahead log may become.
const SUPERVISOR: &str = r#"
run() {
    "$1" -D "$2/data" -p "$3" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories="$2" \
        -c fsync="$4" -c synchronous_commit="$4" -c full_page_writes="$4" \
        -c max_wal_size="$5" -c max_connections=300 >>"$2/log" 2>&1 &
    server=$!
}
run "$@"
while read -r order; do
    case "$order" in
        stop) kill -INT "$server"; wait "$server" ;;
        start) run "$@" ;;
    esac
done
kill -QUIT "$server"
wait "$server"
cd /
rm -rf "$2"
"#;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PostgreSQL's programs are not on this machine.
    #[error("initdb is neither on the PATH nor in /usr/lib/postgresql/*/bin: install PostgreSQL")]
    NotInstalled,
    /// There is no user to run it as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`: run as another user"
    )]
    NoUser,
    /// The machine does not do something that is needed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What for.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Its files cannot be made.
    #[error("initdb failed: {0}")]
    NotInitialised(String),
    /// It does not come up or go down.
    #[error("PostgreSQL was not {state} within {PATIENCE:?}; its log says:\n{log}")]
    TooSlow {
        /// What was waited for.
        state: &'static str,
        /// The whole log.
        log: String,
    },
}

/// The result of the functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether what is committed survives a power cut.
#[derive(Debug, Clone, Copy)]
pub enum Durability {
    /// No: tests take a fraction of the time.
    None,
    /// Yes, as in production: for measurements.
    Full,
}

/// A server; dropping it stops it and removes its files.
#[derive(Debug)]
pub struct Server {
    supervisor: Child,
    folder: PathBuf,
    port: u16,
}

impl Server {
    /// Starts a server on a free port.
    pub fn start(durability: Durability) -> Result<Self> {
        let programs = programs().ok_or(Error::NotInstalled)?;
        let owner = owner()?;
        let folder = tempfile::Builder::new()
            .prefix("condor-pg-")
            .tempdir()
            .map_err(|source| Error::Io { what: "make a folder", source })?;
        if let Some(owner) = &owner {
            chown(folder.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
                .map_err(|source| Error::Io { what: "give the folder away", source })?;
        }
        initialise(&programs, folder.path(), owner.as_ref())?;

        let port = free_port().map_err(|source| Error::Io { what: "find a free port", source })?;
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "postgres-supervisor"]);
        command.arg(programs.join("postgres")).arg(folder.path()).arg(port.to_string());
        command.args(match durability {
            // Tests run where there may be little room.
            Durability::None => ["off", "80MB"],
            Durability::Full => ["on", "1GB"],
        });
        // A group of its own: Ctrl-C on the terminal reaches us alone, and the supervisor then cleans up.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let supervisor = as_user(&mut command, folder.path(), owner.as_ref())
            .spawn()
            .map_err(|source| Error::Io { what: "start PostgreSQL", source })?;
        let server = Server { supervisor, port, folder: folder.keep() };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Stops it as an operator does: connections are cut. Its files and its port stay.
    pub fn stop(&mut self) -> Result<()> {
        self.order("stop")?;
        self.wait_until("stopped", || !self.lock_file().exists())
    }

    /// Starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.order("start")?;
        self.wait_until_ready()
    }

    /// The address of its one database; no password is asked for.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn order(&mut self, order: &str) -> Result<()> {
        let orders = self.supervisor.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe.into());
        let given = orders.and_then(|orders| writeln!(orders, "{order}"));
        given.map_err(|source| Error::Io { what: "give PostgreSQL's supervisor an order", source })
    }

    /// The server itself writes `ready` into the eighth line of its lock file.
    fn wait_until_ready(&self) -> Result<()> {
        self.wait_until("ready", || {
            let lock = fs::read_to_string(self.lock_file()).unwrap_or_default();
            lock.lines().nth(7).is_some_and(|status| status.trim() == "ready")
        })
    }

    fn wait_until(&self, state: &'static str, is_so: impl Fn() -> bool) -> Result<()> {
        let waiting = Stopwatch::start();
        while !is_so() {
            if waiting.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(Error::TooSlow { state, log });
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.folder.join("data/postmaster.pid")
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

/// The folder of PostgreSQL's programs, when they are on this machine.
pub fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    // Debian has a wrapper on the PATH that links to the real place.
    let real = |folder: PathBuf| folder.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned);
    let on_path = std::env::split_paths(&path).filter_map(real).find(is_complete);
    on_path.or_else(|| newest_in(Path::new("/usr/lib/postgresql")).filter(is_complete))
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
    let found = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
    found.map(Some).ok_or(Error::NoUser)
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
    let output = as_user(&mut command, folder, owner)
        .output()
        .map_err(|source| Error::Io { what: "start initdb", source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::NotInitialised(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use super::*;

    #[test]
    fn a_server_answers_is_stopped_and_started_again_and_is_gone_when_dropped() {
        if programs().is_none() {
            println!("skipped: there is no PostgreSQL on this machine");
            return;
        }
        let mut server = Server::start(Durability::None).unwrap();
        let port = server.port;
        assert_eq!(server.url(), format!("postgres://postgres@127.0.0.1:{port}/postgres"));
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(answers());
        server.stop().unwrap();
        assert!(!answers());
        server.restart().unwrap();
        assert!(answers());
        let folder = server.folder.clone();
        drop(server);
        assert!(!answers() && !folder.exists());
    }
}
