//! Processor time, which unlike the time on the wall does not depend on what else a machine does.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::Result;

/// That of this process.
pub fn own() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), 1000 * time.tv_usec().unsigned_abs() as u32)
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// A PostgreSQL server on this machine.
pub struct Server {
    postmaster: String,
}

impl Server {
    /// The one at `url`; `None` for another database, or where processes are not in /proc.
    pub async fn find(url: &str) -> Result<Option<Self>> {
        if url.starts_with("sqlite://") {
            return Ok(None);
        }
        let mut connection = url.parse::<PgConnectOptions>()?.connect().await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let postmaster = fields(&backend.to_string()).and_then(|fields| fields.get(PARENT).cloned());
        Ok(postmaster.map(|postmaster| Server { postmaster }))
    }

    /// That of all its processes, those that have ended included.
    pub fn used(&self) -> Result<Duration> {
        let mut ticks = 0;
        for entry in fs::read_dir("/proc")? {
            let Ok(process) = entry?.file_name().into_string() else { continue };
            // One that ends meanwhile is counted with the postmaster's own.
            let Some(fields) = fields(&process) else { continue };
            let counted = match process == self.postmaster {
                true => OWN_TIME..=CHILDREN_TIME + 1,
                false if fields.get(PARENT) == Some(&self.postmaster) => OWN_TIME..=OWN_TIME + 1,
                false => continue,
            };
            ticks += fields[counted].iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
        }
        let a_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100) as f64;
        Ok(Duration::from_secs_f64(ticks as f64 / a_second))
    }
}

/// Places in `/proc/PID/stat` behind the name: the parent; the user and the system time of itself; those of its children.
const PARENT: usize = 1;
const OWN_TIME: usize = 11;
const CHILDREN_TIME: usize = 13;

fn fields(process: &str) -> Option<Vec<String>> {
    if !process.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    let fields: Vec<String> = behind_name.split_whitespace().map(str::to_owned).collect();
    (fields.len() > CHILDREN_TIME + 1).then_some(fields)
}
