//! Starts light hosts at once, deploys a second version on all of them, and prints what that and a
//! minute of idleness cost.
//!
//! `cargo run -p fleet-local --example hosts -- 50`

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use fleet_local::host::{Host, HostOptions, Version, registry};

/// Clock ticks a second, as Linux reports processor time to programs.
const TICKS: f64 = 100.0;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let count: usize = std::env::args().nth(1).map_or(Ok(20), |count| count.parse())?;
    let images = registry(&[Version::new("v1"), Version::new("v2")])?;
    let mut out = std::io::stdout();

    let began = Instant::now();
    let hosts: Vec<Host> = at_once((0..count).collect(), |number| {
        let image_tag = Some("v1".to_owned());
        let options = HostOptions::new(format!("i-0{number:016x}"), images.clone());
        Ok(Host::start(HostOptions { image_tag, ..options })?)
    })?;
    writeln!(out, "{count} hosts in service after {:.1} s", began.elapsed().as_secs_f64())?;

    let began = Instant::now();
    at_once(hosts.iter().collect(), |host| {
        let ran = host.command(&["deploy", "v2"])?;
        if ran.exit_code == 0 { Ok(()) } else { Err(ran.reply.to_string().into()) }
    })?;
    writeln!(out, "a second version on all after {:.1} s", began.elapsed().as_secs_f64())?;

    let before = processor_seconds(&hosts)?;
    let own_before = ticks("self")?;
    std::thread::sleep(Duration::from_secs(60));
    let kinds = ["deploy-server", "api", "worker"];
    for ((kind, before), after) in kinds.iter().zip(before).zip(processor_seconds(&hosts)?) {
        let share = (after - before) / 60.0 * 100.0;
        writeln!(out, "{kind}: {share:.2} % of a processor, idle, all together")?;
    }
    let own = (ticks("self")? - own_before) / 60.0 * 100.0;
    writeln!(out, "engines (this process): {own:.2} % of a processor, idle")?;
    for (place, kind) in kinds.iter().enumerate() {
        let pids = hosts.iter().map(|host| Ok(pids(host)?[place]));
        let pids = pids.collect::<Result<Vec<u32>>>()?;
        let sum = |field| pids.iter().map(|pid| kilobytes(*pid, field)).sum::<Result<u64>>();
        let each = |sum: u64| sum / 1024 / u64::try_from(count.max(1)).unwrap_or(1);
        let (rss, pss) = (sum("Rss:")?, sum("Pss:")?);
        writeln!(
            out,
            "{kind}: {} MiB resident each, {} MiB all together without what they share",
            each(rss),
            pss / 1024
        )?;
    }
    let began = Instant::now();
    drop(hosts);
    writeln!(out, "all gone after {:.1} s", began.elapsed().as_secs_f64())?;
    Ok(())
}

fn at_once<I: Send, O: Send>(
    inputs: Vec<I>,
    work: impl Fn(I) -> Result<O> + Sync,
) -> Result<Vec<O>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            inputs.into_iter().map(|input| scope.spawn(move || work(input))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    })
}

/// The deploy-server, the API and the worker of a host.
fn pids(host: &Host) -> Result<[u32; 3]> {
    let container = |name| host.engine().container(name).and_then(|container| container.pid);
    let server = host.server_pid().ok_or("no deploy-server")?;
    let api = container("ghosthands-api").ok_or("no api")?;
    let worker = container("ghosthands-worker").ok_or("no worker")?;
    Ok([server, api, worker])
}

fn processor_seconds(hosts: &[Host]) -> Result<[f64; 3]> {
    let mut sums = [0.0; 3];
    for host in hosts {
        for (sum, pid) in sums.iter_mut().zip(pids(host)?) {
            *sum += ticks(&pid.to_string())?;
        }
    }
    Ok(sums)
}

/// Processor time in seconds, from `/proc/<pid>/stat`.
fn ticks(pid: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("stat has another form")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS)
}

fn kilobytes(pid: u32, field: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
