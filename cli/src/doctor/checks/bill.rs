//! What it costs.

use crate::cost::control_plane_month;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use crate::show::money;

const AREA: &str = "bill";
/// TickSeconds by default.
const TICK_S: u32 = 20;

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let check = Check::new(AREA, "bill", "cost of the status, and list prices");
    let cost = match facts.told("/cost") {
        Ok(cost) => cost,
        Err(why) => return vec![check.not_checked(why)],
    };
    let instances = cost["instances"].as_u64().and_then(|many| u32::try_from(many).ok());
    let control = control_plane_month(instances.unwrap_or(0), TICK_S);
    vec![check.ok(format!(
        "{} a month at this rate, {} at the maximum; the control plane about ${control:.2} more",
        money(cost, "/month_micros"),
        money(cost, "/month_at_max_micros")
    ))]
}
