//! What `fleet-local up` can be told.

use std::time::Duration;

use clap::Args;
use clap::value_parser;

/// Options of `fleet-local up`; times are in seconds.
#[derive(Debug, Clone, Args)]
// As with most programs the last of several values counts, so a shell alias can be overruled.
#[command(args_override_self = true)]
pub(crate) struct Options {
    /// Seconds from an instance's launch to its service.
    #[arg(
        long,
        default_value_t = 5,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..=500),
    )]
    boot_seconds: u32,
    /// Seconds between two ticks of autoscale.
    #[arg(
        long,
        default_value_t = 2,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..=60),
    )]
    tick_seconds: u32,
    /// How many jobs to enqueue.
    #[arg(
        long,
        default_value_t = 6,
        value_name = "N",
        value_parser = value_parser!(u32).range(0..=10_000),
    )]
    pub(crate) jobs: u32,
    /// Seconds that each job runs.
    #[arg(
        long,
        default_value_t = 8,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..=3600),
    )]
    pub(crate) job_seconds: u32,
    /// The least capacity.
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = value_parser!(u32).range(0..=50),
    )]
    pub(crate) min: u32,
    /// The most capacity; every instance is a process on this machine.
    #[arg(
        long,
        default_value_t = 5,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..=50),
    )]
    pub(crate) max: u32,
    /// End when all jobs ran and capacity is back at the minimum; the last line is a summary as
    /// JSON, and the exit code is 0 only if nothing went wrong.
    #[arg(long)]
    pub(crate) once: bool,
    /// Leave out the two rollouts at the end: a second version, and one that does not work.
    #[arg(long)]
    pub(crate) skip_rollouts: bool,
    /// With --once: give up after so many seconds.
    #[arg(
        long,
        default_value_t = 300,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..=86_400),
    )]
    deadline_seconds: u32,
}

impl Options {
    /// What the single options cannot check for themselves.
    pub(crate) fn problem(&self) -> Option<String> {
        (self.min > self.max).then(|| {
            format!("--min is {} and --max is {}: lower --min or raise --max", self.min, self.max)
        })
    }

    pub(crate) fn boot(&self) -> Duration {
        Duration::from_secs(self.boot_seconds.into())
    }

    pub(crate) fn tick(&self) -> Duration {
        Duration::from_secs(self.tick_seconds.into())
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds.into())
    }

    /// The settings of the function, scaled to this run's pace: by the defaults a demonstration
    /// would have to wait ten minutes for its first scale-in.
    pub(crate) fn function_settings(&self) -> Vec<(&'static str, String)> {
        // The worker's own start comes on top of the machine's boot.
        let until_the_first_job = self.boot_seconds + 2;
        vec![
            ("AUTOSCALE_ASG_ENABLED", "true".to_owned()),
            ("AUTOSCALE_MIN", self.min.to_string()),
            ("AUTOSCALE_MAX", self.max.to_string()),
            ("JOBS_PER_WORKER", "1".to_owned()),
            ("WAIT_VALUE", "1".to_owned()),
            ("AUTOSCALE_BOOT_SECONDS", until_the_first_job.to_string()),
            ("AUTOSCALE_HOLD_MIN_SECONDS", (2 * self.tick_seconds).to_string()),
            ("AUTOSCALE_IDLE_CONFIRM_SECONDS", self.tick_seconds.to_string()),
        ]
    }
}
