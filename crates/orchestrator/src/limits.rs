//! What one model process may take of the machine.

use std::fmt;
use std::str::FromStr;

use domain::Span;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A size in bytes, written such as `512MiB` or `4GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A text that is no size.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no size: write a whole number above 0 with KiB, MiB or GiB, such as 4GiB")]
pub struct InvalidByteSize(String);

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (number, unit) =
                UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = if is_number { number.parse().ok()? } else { return None };
            number.checked_mul(*unit).filter(|bytes| *bytes > 0)
        };
        parse().map(ByteSize).ok_or_else(|| InvalidByteSize(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Limits of each process; what is `None` stays as it is. They are inherited by the processes that it starts, each of which
/// has the same for itself; only the number of processes counts for all of a user together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Address space. Allocating beyond it fails.
    pub memory: Option<ByteSize>,
    /// Processor time over the process's whole life. Beyond it the process is killed.
    pub cpu_time: Option<Span>,
    /// Open files, sockets and pipes.
    pub open_files: Option<u64>,
    /// Processes and threads of the process's user, together.
    pub processes: Option<u64>,
}

/// The host itself needs some of it.
pub const MIN_MEMORY: ByteSize = ByteSize(512 << 20);

/// A limit cannot be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot limit {what}: {source}")]
pub struct LimitError {
    what: &'static str,
    source: Errno,
}

impl Limits {
    /// What the orchestrator allows the processes of a submission unless told otherwise.
    pub const FOR_SUBMISSIONS: Limits = Limits {
        memory: Some(ByteSize(4 << 30)),
        cpu_time: Some(Span::days(1)),
        open_files: Some(1024),
        processes: Some(512),
    };

    /// These, and those of `others` where these say nothing.
    pub fn or(self, others: Limits) -> Limits {
        Limits {
            memory: self.memory.or(others.memory),
            cpu_time: self.cpu_time.or(others.cpu_time),
            open_files: self.open_files.or(others.open_files),
            processes: self.processes.or(others.processes),
        }
    }

    /// The flags of `condor model-host` that say the same.
    pub fn to_arguments(self) -> Vec<String> {
        let flags = [
            ("--max-memory", self.memory.map(|size| size.to_string())),
            ("--max-cpu-time", self.cpu_time.map(|span| span.to_string())),
            ("--max-open-files", self.open_files.map(|count| count.to_string())),
            ("--max-processes", self.processes.map(|count| count.to_string())),
        ];
        flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten().collect()
    }

    /// Lowers this process's own limits, for good, and those of the processes that it starts from now on. It leaves no core
    /// dumps, and processes of the same user cannot look into it.
    pub fn apply_to_this_process(self) -> Result<(), LimitError> {
        let limits = [
            ("memory", Resource::RLIMIT_AS, self.memory.map(|size| size.0)),
            ("processor time", Resource::RLIMIT_CPU, self.cpu_time.map(|span| u64::from(span.as_secs()))),
            ("open files", Resource::RLIMIT_NOFILE, self.open_files),
            ("processes", Resource::RLIMIT_NPROC, self.processes),
            ("core dumps", Resource::RLIMIT_CORE, Some(0)),
        ];
        for (what, resource, limit) in limits {
            if let Some(limit) = limit {
                lower(resource, limit).map_err(|source| LimitError { what, source })?;
            }
        }
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_dumpable(false)
            .map_err(|source| LimitError { what: "who looks into this process", source })?;
        Ok(())
    }
}

/// No program that this thread starts becomes another user, and none that threads start which it starts from now on: to be
/// called before there are any. Linux only.
pub fn stay_this_user() -> Result<(), LimitError> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_no_new_privs()
        .map_err(|source| LimitError { what: "set-user-id programs", source })?;
    Ok(())
}

fn lower(resource: Resource, limit: u64) -> Result<(), Errno> {
    let (_, hard) = getrlimit(resource)?;
    let limit = limit.min(hard);
    setrlimit(resource, limit, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write_the_same() {
        for (text, bytes) in [("1KiB", 1024), ("512MiB", 512 << 20), ("4GiB", 4 << 30)] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, text));
        }
        for bad in ["", "4", "4GB", "-1GiB", "+1GiB", "GiB", "0KiB", "1.5GiB", "99999999999999GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_become_the_hosts_flags() {
        let limits = Limits { open_files: Some(64), ..Limits::default() }.or(Limits::FOR_SUBMISSIONS);
        let arguments = limits.to_arguments().join(" ");
        assert_eq!(arguments, "--max-memory 4GiB --max-cpu-time 24h --max-open-files 64 --max-processes 512");
        assert!(Limits::default().to_arguments().is_empty());
    }
}
