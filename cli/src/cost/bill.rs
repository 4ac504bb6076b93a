//! What the control plane itself costs a month: list prices of us-east-1, before free tiers, on the
//! x86_64 processors that the stack has by default. Computed and not measured.
//!
//! Prices: <https://aws.amazon.com/lambda/pricing/>, <https://aws.amazon.com/cloudwatch/pricing/>,
//! <https://aws.amazon.com/secrets-manager/pricing/>.

use fleet_core::status::HOURS;
use serde::Serialize;

/// Minutes of a month: each schedule invokes its function once a minute.
const MINUTES: f64 = HOURS as f64 * 60.0;
/// Autoscale, drain and deploy.
const SCHEDULES: f64 = 3.0;
const MEMORY_GB: f64 = 0.25;
/// What a tick or a pass is counted with; most are shorter.
const PASS_S: f64 = 0.5;
/// Custom metrics of the three functions and the two of the API's access log, without the one of
/// stacks that judge versions by their jobs.
pub(super) const METRICS: u32 = 50;
/// Alarms of `template.yaml`, without the one of such stacks.
pub(crate) const ALARMS: u32 = 29;
/// The hosts' secret and the functions'.
const SECRETS: f64 = 2.0;

const GB_SECOND: f64 = 0.000_016_666_7;
const REQUEST: f64 = 0.000_000_2;
const LOG_GB: f64 = 0.50;
const METRIC: f64 = 0.30;
const ALARM: f64 = 0.10;
const SECRET: f64 = 0.40;

/// One line of the bill, in dollars a month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) month: f64,
}

/// The bill with so many instances and a tick every so many seconds (60, 30, 20 or 10).
#[must_use]
pub(super) fn bill(instances: u32, tick_s: u32) -> Vec<Line> {
    let line = |what: String, month: f64| Line { what, month };
    // An invocation that makes several ticks is paid for while it waits for the next one.
    let ticking_s = 60.0 - f64::from(tick_s) + PASS_S;
    let ticks = MINUTES * 60.0 / f64::from(tick_s);
    // A tick's record is 3 KB, and 0.4 KB for each machine with its worker.
    let log_gb = ticks * (3.0 + 0.4 * f64::from(instances)) / 1_000_000.0;
    vec![
        line(format!("ticks every {tick_s} s"), MINUTES * ticking_s * MEMORY_GB * GB_SECOND),
        line(
            "passes of drain and deploy, once a minute".to_owned(),
            2.0 * MINUTES * PASS_S * MEMORY_GB * GB_SECOND,
        ),
        line("requests of the schedules".to_owned(), SCHEDULES * MINUTES * REQUEST),
        line(format!("decision records of {instances} instances"), log_gb * LOG_GB),
        line(format!("{METRICS} metrics"), f64::from(METRICS) * METRIC),
        line(format!("{ALARMS} alarms"), f64::from(ALARMS) * ALARM),
        line("two secrets".to_owned(), SECRETS * SECRET),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cents(dollars: f64) -> String {
        format!("{dollars:.2}")
    }

    #[test]
    fn a_month_of_ticks_is_what_docs_configuration_says() {
        let shown = |tick_s| {
            let bill = bill(10, tick_s);
            (cents(bill[0].month), cents(bill[3].month))
        };
        let said = [
            (60, "0.09", "0.15"),
            (30, "5.57", "0.31"),
            (20, "7.39", "0.46"),
            (10, "9.22", "0.92"),
        ];
        let document = include_str!("../../../docs/CONFIGURATION.md");
        for (tick_s, compute, log) in said {
            assert_eq!(shown(tick_s), (compute.to_owned(), log.to_owned()), "{tick_s}");
            let row = document.lines().find(|line| line.starts_with(&format!("| {tick_s} |")));
            let row = row.expect("a row of the document");
            assert!(
                row.contains(&format!("${compute}")) && row.contains(&format!("${log}")),
                "{row}"
            );
        }
    }

    #[test]
    fn metrics_and_alarms_are_those_that_exist() {
        // What has a condition of its own is in no stack by default.
        let alarms = include_str!("../../../template.yaml")
            .split("Type: AWS::CloudWatch::Alarm\n")
            .skip(1)
            .filter(|alarm| !alarm.starts_with("    Condition:"));
        assert_eq!(alarms.count(), ALARMS as usize);
        let filters =
            include_str!("../../../template.yaml").matches("Type: AWS::Logs::MetricFilter");
        let sources = [
            include_str!("../../../shared/clients/src/telemetry/metrics.rs"),
            include_str!("../../../shared/clients/src/telemetry/drain.rs"),
            include_str!("../../../shared/clients/src/telemetry/deploy.rs"),
        ];
        let named = sources.iter().map(|source| {
            let list =
                source.split("let metrics = [").nth(1).and_then(|rest| rest.split("];").next());
            let list = list.expect("the list of a line's metrics");
            list.lines().filter(|it| it.contains("(\"") && !it.contains("then_some")).count()
        });
        assert_eq!(named.sum::<usize>() + filters.count(), METRICS as usize);
    }
}
