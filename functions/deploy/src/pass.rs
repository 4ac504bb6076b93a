//! One pass over the rollout in progress: decide, make the calls, take the answers in, until there
//! is nothing left to ask or to do.

use crate::act::{changes, perform};
use crate::app::App;
use crate::record::{Calls, Invoked, PassRecord};
use fleet_clients::telemetry::emit_line;
use fleet_core::rollout::{Call, Inputs, ROUNDS, Reason, decide};
use fleet_lambda::now;
use fleet_protocol::ids::CommandId;
use serde_json::Value;
use std::time::Instant;

/// Makes one pass and returns its record without the inputs. Each pass has told it on stdout
/// already.
pub(crate) async fn pass(app: &App, invoked: Invoked, hint: Option<CommandId>) -> Value {
    let began = Instant::now();
    let mut inputs = Inputs::new(app.webhook.is_some(), app.config.limits, now(), hint);
    inputs.alarms.clone_from(&app.config.alarms);
    let mut made: Vec<Call> = Vec::new();
    let mut withheld: Vec<Call> = Vec::new();
    let mut reasons: Vec<Reason> = Vec::new();
    let mut rounds = 0;
    let last = loop {
        let decision = decide(&inputs);
        if decision.calls.is_empty() {
            break decision.because;
        }
        if app.config.dry_run && decision.calls.iter().any(changes) {
            withheld = decision.calls;
            break decision.because;
        }
        if rounds == ROUNDS {
            let open = u32::try_from(decision.calls.len()).unwrap_or(u32::MAX);
            break Reason::OutOfRounds { rounds, open };
        }
        rounds += 1;
        if decision.because != Reason::Looking && !reasons.contains(&decision.because) {
            reasons.push(decision.because);
        }
        made.extend(decision.calls.iter().cloned());
        for answer in perform(app, decision.calls).await {
            inputs.seen.take(answer);
        }
    };
    reasons.push(last);
    let duration_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    let record = PassRecord::new(
        invoked,
        &app.config,
        inputs,
        Calls { made, withheld },
        reasons,
        duration_ms,
    );
    emit_line(&record);
    record.metrics().emit();
    record.into_summary()
}
