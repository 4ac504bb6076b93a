//! One pass: decide, make the calls, take the answers in, until there is nothing left to ask or to
//! do.

use crate::act::perform;
use crate::app::App;
use crate::record::{self, PassRequest};
use fleet_clients::telemetry::emit_line;
use fleet_core::drain::{Call, Inputs, decide};
use fleet_lambda::now;
use serde_json::Value;
use std::time::Instant;

/// Rounds of calls in one pass. Six completions, each with a look at the group before it, take 16.
const ROUNDS: u32 = 32;

/// Makes one pass and returns its record without the inputs. Each pass has told it on stdout
/// already.
pub(crate) async fn pass(app: &App, mut told: PassRequest) -> Value {
    let began = Instant::now();
    let now = now();
    let memory = app.warm.lock().await.clone();
    let mut inputs = Inputs::new(app.config.policy.clone(), now, memory, told.hints.clone());
    let mut made: Vec<Call> = Vec::new();
    let mut rounds = 0;
    let decision = loop {
        let decision = decide(&inputs);
        if decision.calls.is_empty() {
            break decision;
        }
        if rounds == ROUNDS {
            let open = decision.calls.len();
            told.problem = Some(format!(
                "the pass stopped after {ROUNDS} rounds of calls with {open} calls still to make; the next pass goes on"
            ));
            break decision;
        }
        rounds += 1;
        made.extend(decision.calls.iter().cloned());
        for answer in perform(app, decision.calls, now).await {
            inputs.take(answer);
        }
    };
    *app.warm.lock().await = inputs.remember();
    let duration_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    let record = record::PassRecord::new(told, &app.config, inputs, made, decision, duration_ms);
    emit_line(&record.line());
    record.emit_metrics();
    record.into_summary()
}
