//! The machine that is measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::shell;

/// What a figure depends on.
#[derive(Debug)]
pub struct Machine {
    /// How many cores we may use.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// Whether it has AVX2.
    pub avx2: bool,
    /// The core on which both sides run; `None` where there is no taskset.
    pub pinned_to: Option<usize>,
    /// Processes that wanted a core in the minute before.
    pub load: Option<f64>,
}

impl Machine {
    /// This one.
    pub fn find() -> Self {
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into()),
            avx2: has_avx2(),
            pinned_to: shell::which("taskset").and_then(|_| last_core()),
            load: load(),
        }
    }

    /// A command that runs on one core, threads of its libraries included.
    pub fn command(&self, program: &Path) -> Command {
        let program = program.to_string_lossy();
        let mut command = match self.pinned_to {
            Some(core) => shell::command("taskset", &["--cpu-list", &core.to_string(), &program]),
            None => shell::command(&*program, &[]),
        };
        command
            .envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"].map(|name| (name, "1")));
        command
    }

    /// In words, where one core and its instructions matter.
    pub fn describe(&self) -> String {
        let avx2 = if self.avx2 { "AVX2" } else { "no AVX2" };
        let pinned = self.pinned_to.map_or("not pinned".into(), |core| format!("pinned to core {core}"));
        format!("{}, {avx2}, {pinned}{}", self.cores_in_words(), self.load_in_words())
    }

    /// In words, where all cores are used.
    pub fn describe_shared(&self) -> String {
        format!("{}{}", self.cores_in_words(), self.load_in_words())
    }

    fn cores_in_words(&self) -> String {
        let cores = if self.cores == 1 { "core" } else { "cores" };
        format!("{} {cores}, {}, {}", self.cores, self.processor, std::env::consts::ARCH)
    }

    fn load_in_words(&self) -> String {
        self.load.map_or(String::new(), |load| format!(", load before {load:.1}"))
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

/// The last core that we may use: the first ones serve interrupts.
fn last_core() -> Option<usize> {
    let list = field_of("/proc/self/status", "Cpus_allowed_list")?;
    list.rsplit([',', '-']).next()?.parse().ok()
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// The value of the first line `key: value`.
fn field_of(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}
