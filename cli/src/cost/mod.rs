//! `ghfleet cost`: what a month costs, of so many instances and of the control plane.

mod bill;
mod dollars;

use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{Cell, Screen, fact, money, number, table};
use crate::status;
pub(crate) use bill::ALARMS;
use bill::{Line, bill};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use dollars::Dollars;
use fleet_core::status::{HOURS, Prices};
use serde::Serialize;
use serde_json::Value;

/// Show what a month costs: instances, their disks, and the control plane.
///
/// Without --live it asks nobody and computes with list prices of us-east-1;
/// --hourly and --gb-month take those of another region, of Spot or of a
/// savings plan. With --live it shows what the stack says of its instances.
///
/// Examples:
///   ghfleet cost
///   ghfleet cost --instances 1,3,20 --type t3.xlarge --disk-gb 60
///   ghfleet cost --instances 10 --hourly 0.0251 --tick-seconds 60
///   ghfleet cost --live
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CostArgs {
    /// Numbers of instances to compare.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 2, 3, 5, 10])]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    instances: Vec<u32>,
    /// The instance type, on demand in us-east-1.
    #[arg(long = "type", value_enum, default_value_t = InstanceType::T3Large)]
    instance_type: InstanceType,
    /// Dollars of one instance for an hour, in place of the type's.
    #[arg(long, value_name = "DOLLARS")]
    hourly: Option<Dollars>,
    /// GB of each instance's disk, and of the image's snapshot.
    #[arg(long, value_name = "GB", default_value_t = 40)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=16_384))]
    disk_gb: u32,
    /// Dollars of one GB of disk or snapshot for a month.
    #[arg(long, value_name = "DOLLARS", default_value = "0.08")]
    gb_month: Dollars,
    /// Seconds between two ticks, as the stack's parameter TickSeconds.
    #[arg(long, value_name = "SECONDS", default_value = "20")]
    #[arg(value_parser = tick_seconds())]
    tick_seconds: u32,
    /// Show the instances of the stack and its own prices.
    #[arg(long, conflicts_with_all = ["instances", "instance_type", "hourly", "disk_gb", "gb_month", "tick_seconds"])]
    live: bool,
    /// Print one JSON document; with --live the API's answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What the stack takes for TickSeconds.
fn tick_seconds() -> impl TypedValueParser<Value = u32> {
    PossibleValuesParser::new(["10", "20", "30", "60"]).try_map(|text| text.parse())
}

/// Types that people run browsers on.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum InstanceType {
    #[value(name = "t3.medium")]
    T3Medium,
    #[value(name = "t3.large")]
    T3Large,
    #[value(name = "t3.xlarge")]
    T3Xlarge,
    #[value(name = "t3a.large")]
    T3aLarge,
    #[value(name = "m6i.large")]
    M6iLarge,
    #[value(name = "c6i.xlarge")]
    C6iXlarge,
}

impl InstanceType {
    /// Millionths of a dollar for an hour of Linux.
    /// <https://aws.amazon.com/ec2/pricing/on-demand/>
    fn hour_micros(self) -> u32 {
        match self {
            InstanceType::T3Medium => 41_600,
            InstanceType::T3Large => Prices::default().instance_hour,
            InstanceType::T3Xlarge => 166_400,
            InstanceType::T3aLarge => 75_200,
            InstanceType::M6iLarge => 96_000,
            InstanceType::C6iXlarge => 170_000,
        }
    }
}

/// What a month costs with so many instances, in dollars.
#[derive(Debug, Serialize)]
struct Month {
    instances: u32,
    hour: f64,
    compute: f64,
    disks: f64,
    snapshot: f64,
    control_plane: f64,
    month: f64,
}

#[derive(Debug, Serialize)]
struct Document {
    currency: &'static str,
    months: Vec<Month>,
    /// The bill of the control plane beside the last of them.
    control_plane: Vec<Line>,
}

impl CostArgs {
    /// # Errors
    /// A price is too large, or the status could not be read.
    pub fn run(&self) -> Result<Finished, Failure> {
        if self.live {
            return self.live();
        }
        let document = self.document()?;
        if self.json {
            let text = serde_json::to_string_pretty(&document).expect("plain data");
            return Ok(Finished::done(text + "\n"));
        }
        Ok(Finished::done(render(&Screen::of_stdout(), &document)))
    }

    fn document(&self) -> Result<Document, Failure> {
        let disk = u64::from(self.disk_gb) * u64::from(self.gb_month.micros());
        let disk = u32::try_from(disk)
            .map_err(|_| Failure::usage("--disk-gb times --gb-month is more than $4294 a month"))?;
        let prices = Prices {
            instance_hour: self
                .hourly
                .map_or_else(|| self.instance_type.hour_micros(), Dollars::micros),
            volume_month: disk,
            fixed_month: disk,
        };
        let months =
            self.instances.iter().map(|instances| month(&prices, *instances, self.tick_seconds));
        Ok(Document {
            currency: "USD",
            months: months.collect(),
            control_plane: bill(self.instances.last().copied().unwrap_or(0), self.tick_seconds),
        })
    }

    fn live(&self) -> Result<Finished, Failure> {
        let answer = status::read(&self.connection.api()?)?;
        if self.json {
            return Ok(Finished::done(format!("{:#}\n", answer.body["cost"])));
        }
        Ok(Finished::done(stack(&answer.body)))
    }
}

/// Dollars of the control plane's month beside so many instances.
pub(crate) fn control_plane_month(instances: u32, tick_s: u32) -> f64 {
    bill(instances, tick_s).iter().map(|line| line.month).sum()
}

fn month(prices: &Prices, instances: u32, tick_s: u32) -> Month {
    let dollars = |micros: u64| micros as f64 / 1e6;
    let control_plane = control_plane_month(instances, tick_s);
    Month {
        instances,
        hour: dollars(u64::from(instances) * u64::from(prices.instance_hour)),
        compute: dollars(prices.compute(instances)),
        disks: dollars(prices.volumes(instances)),
        snapshot: dollars(u64::from(prices.fixed_month)),
        control_plane,
        month: dollars(prices.month(instances)) + control_plane,
    }
}

fn render(screen: &Screen, document: &Document) -> String {
    let dollars = |amount: f64| Cell::new(format!("${amount:.2}"));
    let heads = ["instances", "an hour", "compute", "disks", "snapshot", "control", "a month"];
    let rows: Vec<[Cell; 7]> = document
        .months
        .iter()
        .map(|month| {
            let sums =
                [month.compute, month.disks, month.snapshot, month.control_plane, month.month];
            let [compute, disks, snapshot, control, sum] = sums.map(dollars);
            let hour = Cell::new(format!("${:.4}", month.hour));
            [Cell::new(month.instances.to_string()), hour, compute, disks, snapshot, control, sum]
        })
        .collect();
    let last = document.months.last().map_or(0, |month| month.instances);
    let lines: Vec<[Cell; 2]> = document
        .control_plane
        .iter()
        .map(|line| [dollars(line.month), Cell::new(&line.what)])
        .collect();
    let wide = [12; 7];
    table(screen, heads, wide, &rows)
        + &format!("\nThe control plane's month beside {last} instances, before free tiers:\n\n")
        + &table(screen, ["a month", "for"], [12, 60], &lines)
        + &format!(
            "\nA month has {HOURS} hours. Data transfer, addresses and Docker images in ECR are\nextra.\n"
        )
}

/// What a stack says of its own instances.
fn stack(body: &Value) -> String {
    let at = |name: &str| money(body, &format!("/cost/{name}"));
    fact("instances", &number(body, "/cost/instances"))
        + &fact("an hour", &at("hour_micros"))
        + &fact("a month", &format!("{} at this rate", at("month_micros")))
        + &fact("at the min", &format!("{} a month", at("month_at_min_micros")))
        + &fact("at the max", &format!("{} a month", at("month_at_max_micros")))
}
