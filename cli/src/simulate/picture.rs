//! A run as a picture: demand, machines and waiting over time, one self-contained HTML page.

use super::figures::{COLUMNS, Figures};
use super::world::{Job, Ms, Run};
use std::fmt::Write;

const WIDTH: usize = 1000;
const HEIGHT: usize = 160;

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2rem;color:#1c2733;background:#fff}\
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}td:first-child,th:first-child{text-align:left}\
tr:nth-child(even){background:#f3f5f7}svg{width:100%;height:auto;background:#f8f9fa;margin:.3rem 0 1.2rem}\
.demand{fill:#c5d8ea}.supply{fill:none;stroke:#1b6ca8;stroke-width:1.2}.wait{fill:#d9822b}\
@media(prefers-color-scheme:dark){body{background:#14181c;color:#dfe5ea}tr:nth-child(even){background:#1d2329}svg{background:#1a2026}}";

/// The page. `runs` are in the order of `rows`.
#[must_use]
pub fn page(jobs: &[Job], rows: &[Figures], runs: &[Run]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Scaling simulated</title>\
         <style>{STYLE}</style><h1>Scaling simulated</h1><p>{} jobs. Areas: jobs that are ready or \
         run. Line: machines in service. Bars: the longest wait of jobs that arrived then.</p>",
        jobs.len()
    );
    write!(html, "<table><tr><th>{}", COLUMNS.join("<th>")).expect("as below");
    for row in rows {
        write!(html, "<tr><td>{}", row.cells().join("<td>"))
            .expect("writing to a string cannot fail");
    }
    html.push_str("</table>");
    for (row, run) in rows.iter().zip(runs) {
        write!(html, "<h2>{}</h2>{}", row.policy, chart(jobs, run)).expect("as above");
    }
    html.push_str("</html>\n");
    html
}

/// The highest of everything that fell into each column of the picture.
#[derive(Clone, Copy, Default)]
struct Column {
    demand: u32,
    in_service: u32,
    wait: Ms,
}

fn chart(jobs: &[Job], run: &Run) -> String {
    let columns = columns(jobs, run);
    let top = columns.iter().map(|c| c.demand.max(c.in_service)).max().unwrap_or(0).max(1);
    let longest = columns.iter().map(|c| c.wait).max().unwrap_or(0).max(1);
    let y = |value: u32| HEIGHT as f64 * (1.0 - f64::from(value) / f64::from(top));
    let mut demand = format!("M0 {HEIGHT}");
    let mut supply = String::new();
    let mut waits = String::new();
    for (x, column) in columns.iter().enumerate() {
        write!(demand, "L{x} {:.1}L{} {:.1}", y(column.demand), x + 1, y(column.demand))
            .expect("s");
        let pen = if x == 0 { 'M' } else { 'L' };
        write!(supply, "{pen}{x} {:.1}", y(column.in_service)).expect("a string");
        let high = 40.0 * column.wait as f64 / longest as f64;
        if high >= 0.5 {
            write!(waits, "<rect x={x} y={:.1} width=1 height={high:.1} />", 210.0 - high)
                .expect("a string");
        }
    }
    format!(
        "<svg viewBox='0 0 {WIDTH} 215' role=img aria-label='demand, machines and waiting'>\
         <path class=demand d='{demand}L{WIDTH} {HEIGHT}Z'/><path class=supply d='{supply}'/>\
         <g class=wait>{waits}</g><text x=4 y=12 font-size=10 fill=currentColor>{top} machines</text>\
         <text x=4 y=178 font-size=10 fill=currentColor>{} s</text></svg>",
        longest / 1000
    )
}

fn columns(jobs: &[Job], run: &Run) -> Vec<Column> {
    let mut columns = vec![Column::default(); WIDTH];
    let column = |at: Ms| {
        let horizon = run.horizon.max(1);
        usize::try_from(at.clamp(0, horizon - 1) * 1000 / horizon).unwrap_or(0).min(WIDTH - 1)
    };
    for pair in run.steps.windows(2) {
        let [step, next] = pair else { continue };
        for it in &mut columns[column(step.at)..=column(next.at)] {
            it.demand = it.demand.max(step.demand);
            it.in_service = it.in_service.max(step.in_service);
        }
    }
    for (job, wait) in jobs.iter().zip(&run.waits) {
        let it = &mut columns[column(job.arrival)];
        it.wait = it.wait.max(*wait);
    }
    columns
}
