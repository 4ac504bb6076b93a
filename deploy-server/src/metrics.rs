//! CPU, memory, disk and network of the host, from `/proc` and `statvfs`.
//!
//! A source that cannot be read is `null`, never zero. Rates are over the time between two samples:
//! the server takes one every ten seconds, and a reading compares itself with the youngest that is
//! at least a second old.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A rate over less than this is noise.
const SHORTEST: Duration = Duration::from_secs(1);
/// Samples remembered: enough that one of them is old enough, whoever asks how often.
const REMEMBERED: usize = 4;

/// The state of the host. The fields of the old server are first in each group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Processor.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Option<Memory>,
    /// The file system of `/`.
    pub disk: Option<Disk>,
    /// Every interface but loopback and Docker's own.
    pub network: Option<Network>,
    /// What the rates are made of, for who computes them for himself. Not in the JSON.
    #[serde(skip)]
    pub devices: Devices,
}

/// Bytes since boot, by device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// Received and sent by each interface.
    pub network: Option<Counters>,
    /// Read from and written to each disk.
    pub disks: Option<Counters>,
}

/// Processor time and load.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    /// Share of all cores that was not idle, 0 to 100, since the sample before.
    pub usage_percent: Option<f64>,
    /// Cores.
    pub cores: Option<usize>,
    /// Load averages over 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
}

/// Memory, in mebibytes. Used is what is not available to a new process.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Total less available.
    pub used_mb: u64,
    /// Physical memory.
    pub total_mb: u64,
    /// Used of total.
    pub usage_percent: f64,
    /// What a new process could have without swapping (`MemAvailable`).
    pub available_mb: u64,
    /// Total and available, unrounded. Not in the JSON.
    #[serde(skip)]
    pub total_bytes: u64,
    #[serde(skip)]
    pub available_bytes: u64,
}

/// A file system, in gibibytes to one decimal, and the disks' transfer rates.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Total less free.
    pub used_gb: f64,
    /// Size.
    pub total_gb: f64,
    /// Used of total.
    pub usage_percent: f64,
    /// What an ordinary user could still write.
    pub available_gb: f64,
    /// Used of all inodes; `null` on file systems without a fixed number.
    pub inodes_usage_percent: Option<f64>,
    /// Bytes read a second, all disks.
    pub read_bytes_per_sec: Option<u64>,
    /// Bytes written a second, all disks.
    pub write_bytes_per_sec: Option<u64>,
    /// Size, used and available, unrounded. Not in the JSON.
    #[serde(skip)]
    pub total_bytes: u64,
    #[serde(skip)]
    pub used_bytes: u64,
    #[serde(skip)]
    pub available_bytes: u64,
}

/// Bytes a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Received.
    pub rx_bytes_per_sec: u64,
    /// Sent.
    pub tx_bytes_per_sec: u64,
}

/// The counters a rate is made of.
#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    cpu: Option<CpuTime>,
    /// Received and sent bytes of each interface.
    network: Option<Counters>,
    /// Read and written bytes of each disk.
    disks: Option<Counters>,
}

/// Two counters of each device, by its name.
pub type Counters = BTreeMap<String, (u64, u64)>;

/// Remembers the last samples, so that a reading can say what happens now and not since boot.
#[derive(Debug)]
pub struct Sampler {
    samples: Mutex<VecDeque<Sample>>,
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

impl Sampler {
    /// Takes the first sample.
    #[must_use]
    pub fn new() -> Self {
        Self { samples: Mutex::new(VecDeque::from([Sample::take()])) }
    }

    /// Takes another sample; to be called every ten seconds.
    pub fn tick(&self) {
        let sample = Sample::take();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        while samples.len() > REMEMBERED {
            samples.pop_front();
        }
    }

    /// The state now. Rates are absent in the first second of the server's life.
    #[must_use]
    pub fn read(&self) -> Metrics {
        let now = Sample::take();
        let before = {
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            let old_enough = |sample: &&Sample| now.at.duration_since(sample.at) >= SHORTEST;
            samples.iter().rev().find(old_enough).cloned()
        };
        let before = before.as_ref();
        let seconds = before.map_or(0.0, |before| now.at.duration_since(before.at).as_secs_f64());
        let rates = |counters: fn(&Sample) -> Option<&Counters>| {
            rate(counters(before?)?, counters(&now)?, seconds)
        };
        let network = rates(|sample| sample.network.as_ref());
        let disks = rates(|sample| sample.disks.as_ref());
        let used = before
            .and_then(|before| before.cpu.as_ref())
            .zip(now.cpu.as_ref())
            .and_then(|(before, now)| now.used_since(before));
        Metrics {
            cpu: Cpu {
                usage_percent: used,
                cores: now.cpu.as_ref().map(|cpu| cpu.cores),
                load_average: proc("loadavg").as_deref().and_then(load_average),
            },
            memory: proc("meminfo").as_deref().and_then(memory),
            disk: disk(Path::new("/"), disks),
            network: network.map(|(rx, tx)| Network { rx_bytes_per_sec: rx, tx_bytes_per_sec: tx }),
            devices: Devices { network: now.network, disks: now.disks },
        }
    }
}

impl Sample {
    fn take() -> Self {
        Self {
            at: Instant::now(),
            cpu: proc("stat").as_deref().and_then(CpuTime::parse),
            network: proc("net/dev").as_deref().and_then(interfaces),
            disks: proc("diskstats").as_deref().and_then(disks),
        }
    }
}

fn proc(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc").join(name)).ok()
}

/// Time the processor spent since boot, in ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CpuTime {
    total: u64,
    idle: u64,
    cores: usize,
}

impl CpuTime {
    /// Reads `/proc/stat`.
    fn parse(text: &str) -> Option<Self> {
        let fields = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks = fields
            .split_ascii_whitespace()
            // The guest fields that follow are already counted in user and nice.
            .take(8)
            .map(|field| field.parse().ok())
            .collect::<Option<Vec<u64>>>()?;
        let idle = ticks.get(3)?.checked_add(*ticks.get(4)?)?;
        let is_core = |line: &&str| {
            line.strip_prefix("cpu")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        Some(Self {
            total: ticks.iter().try_fold(0_u64, |sum, tick| sum.checked_add(*tick))?,
            idle,
            cores: text.lines().filter(is_core).count(),
        })
    }

    /// Busy share in percent since `before`; `None` where no tick has passed.
    fn used_since(&self, before: &Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total)?;
        let idle = self.idle.saturating_sub(before.idle).min(total);
        (total > 0).then(|| percent(total - idle, total))
    }
}

/// Bytes a second of both counters together. One that went backwards (an interface that was made
/// anew) counts as still, and so does one that was not there before.
fn rate(before: &Counters, now: &Counters, seconds: f64) -> Option<(u64, u64)> {
    if seconds <= 0.0 {
        return None;
    }
    let mut sum = (0_u64, 0_u64);
    for (name, (a, b)) in now {
        if let Some((a_before, b_before)) = before.get(name) {
            sum.0 = sum.0.saturating_add(a.saturating_sub(*a_before));
            sum.1 = sum.1.saturating_add(b.saturating_sub(*b_before));
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and one beyond u64 saturates"
    )]
    let per_second = |bytes: u64| (float(bytes) / seconds).round() as u64;
    Some((per_second(sum.0), per_second(sum.1)))
}

/// Reads `/proc/net/dev`. Loopback and Docker's bridges would count the host's own traffic a second
/// time.
fn interfaces(text: &str) -> Option<Counters> {
    let mut counters = Counters::new();
    for line in text.lines().skip(2) {
        let (name, fields) = line.split_once(':')?;
        let name = name.trim();
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let rx = fields.first()?.parse().ok()?;
        let tx = fields.get(8)?.parse().ok()?;
        let own = name == "lo" || ["docker", "br-", "veth"].iter().any(|own| name.starts_with(own));
        if !own {
            counters.insert(name.to_owned(), (rx, tx));
        }
    }
    Some(counters)
}

/// Reads `/proc/diskstats`: whole disks only, a partition's bytes are its disk's.
fn disks(text: &str) -> Option<Counters> {
    let mut counters = Counters::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let name = *fields.get(2)?;
        let sectors = |index: usize| -> Option<u64> {
            fields.get(index)?.parse::<u64>().ok()?.checked_mul(512)
        };
        let bytes = (sectors(5)?, sectors(9)?);
        if is_disk(name) {
            counters.insert(name.to_owned(), bytes);
        }
    }
    Some(counters)
}

fn is_disk(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = name.strip_prefix("nvme") {
        // nvme0n1 is a disk, nvme0n1p1 a partition of it.
        return rest
            .split_once('n')
            .is_some_and(|(controller, space)| number(controller) && number(space));
    }
    ["xvd", "sd", "vd"].iter().any(|kind| {
        name.strip_prefix(kind).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    })
}

/// Reads `/proc/loadavg`.
fn load_average(text: &str) -> Option<[f64; 3]> {
    let mut fields = text
        .split_ascii_whitespace()
        .map(|field| field.parse::<f64>().ok().filter(|load| load.is_finite() && *load >= 0.0));
    Some([fields.next()??, fields.next()??, fields.next()??])
}

/// Reads `/proc/meminfo`. `MemFree` would count the page cache as used and show every host as full.
fn memory(text: &str) -> Option<Memory> {
    let kibibytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let total = kibibytes("MemTotal")?;
    let available = kibibytes("MemAvailable")?.min(total);
    let used = total - available;
    Some(Memory {
        used_mb: used / 1024,
        total_mb: total / 1024,
        usage_percent: percent(used, total),
        available_mb: available / 1024,
        total_bytes: total.saturating_mul(1024),
        available_bytes: available.saturating_mul(1024),
    })
}

fn disk(path: &Path, rates: Option<(u64, u64)>) -> Option<Disk> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let gibibytes = |blocks: u64| tenth(float(bytes(blocks)) / float(1 << 30));
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    Some(Disk {
        used_gb: gibibytes(used),
        total_gb: gibibytes(stat.f_blocks),
        usage_percent: percent(used, stat.f_blocks),
        available_gb: gibibytes(stat.f_bavail),
        inodes_usage_percent: (stat.f_files > 0)
            .then(|| percent(stat.f_files.saturating_sub(stat.f_ffree), stat.f_files)),
        read_bytes_per_sec: rates.map(|(read, _)| read),
        write_bytes_per_sec: rates.map(|(_, written)| written),
        total_bytes: bytes(stat.f_blocks),
        used_bytes: bytes(used),
        available_bytes: bytes(stat.f_bavail),
    })
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    tenth(float(part) * 100.0 / float(whole))
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shown to one decimal; a double is exact far beyond that"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
