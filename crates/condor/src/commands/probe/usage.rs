//! What this process takes of the machine.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// Measures this process from its start.
pub struct Meter {
    cpu_before: Duration,
}

impl Meter {
    /// Starts to measure; where the kernel can, the peak of resident memory begins anew.
    pub fn start() -> anyhow::Result<Self> {
        // Elsewhere than on Linux, and where the kernel was built without it, the peak is that since the program's start.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Ok(Meter { cpu_before: cpu(&usage()?) })
    }

    /// User and system time of all threads since the start.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(cpu(&usage()?).saturating_sub(self.cpu_before))
    }

    /// The most bytes that were resident at once since the start.
    pub fn peak_resident_bytes(&self) -> anyhow::Result<u64> {
        match fs::read_to_string("/proc/self/status").ok().as_deref().and_then(high_water_mark) {
            Some(bytes) => Ok(bytes),
            None => Ok(max_resident_bytes(&usage()?)),
        }
    }
}

fn usage() -> anyhow::Result<Usage> {
    getrusage(UsageWho::RUSAGE_SELF).context("cannot tell the resources that this process has used")
}

fn cpu(usage: &Usage) -> Duration {
    let duration = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    duration(usage.user_time()) + duration(usage.system_time())
}

/// From the process's status as Linux writes it.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn max_resident_bytes(usage: &Usage) -> u64 {
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    usage.max_rss().unsigned_abs() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_processor_time() {
        let meter = Meter::start().unwrap();
        let watch = domain::Stopwatch::start();
        while meter.cpu().unwrap() < Duration::from_millis(20) {
            assert!(watch.elapsed() < Duration::from_secs(60), "no processor time in a minute");
        }
    }

    #[test]
    fn the_peak_of_memory_holds_what_was_resident_and_given_back() {
        const BYTES: usize = 64_000_000;
        let meter = Meter::start().unwrap();
        let before = meter.peak_resident_bytes().unwrap();
        drop(std::hint::black_box(vec![1_u8; BYTES]));
        let after = meter.peak_resident_bytes().unwrap();
        assert!(after >= BYTES as u64 && after > before, "{before} then {after}");
    }

    #[test]
    fn the_high_water_mark_is_read_from_the_status() {
        assert_eq!(high_water_mark("Name:\tcondor\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2_097_152));
        assert_eq!(high_water_mark("Name:\tcondor\n"), None);
    }
}
