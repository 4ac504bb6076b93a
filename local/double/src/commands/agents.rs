//! Agents: who hears a command, and what becomes of it when one is away or dies.

use super::model::{CommandOutput, InvocationState as State};
use super::{RunCommand, RunKey};

impl RunCommand {
    /// True when the agent has its connection and its machine.
    pub(super) fn is_reachable(&self, instance: &str) -> bool {
        !self.offline.contains_key(instance) && !self.gone.contains(instance)
    }

    /// True when the agent of an invocation can be told something.
    pub(super) fn hears(&self, seq: u64, index: usize) -> bool {
        self.command(seq).is_some_and(|c| {
            let v = &c.invocations[index];
            self.is_reachable(&v.instance) && !v.abandoned
        })
    }

    /// Asks for the end of what runs for an invocation.
    pub(super) fn kill(&mut self, seq: u64, index: usize) {
        let Some(v) = self.command(seq).map(|c| &c.invocations[index]) else { return };
        let keys: Vec<RunKey> = (1..=v.deliveries)
            .map(|delivery| RunKey { seq, instance: v.instance.clone(), delivery })
            .collect();
        self.runs.kill.extend(keys);
        let now = self.now;
        if let Some(v) = self.invocation_mut(seq, index)
            && v.state == State::Cancelling
        {
            // The agent reports the end of what it killed, in place of the end that would have
            // come.
            v.report = Some((now, CommandOutput::exit(-1)));
        }
    }

    /// The agent loses or regains its connection. What it runs goes on; results wait.
    pub(crate) fn set_online(&mut self, instance: &str, online: bool) {
        if online {
            self.offline.remove(instance);
        } else {
            let now = self.now;
            self.offline.entry(instance.to_owned()).or_insert(now);
        }
    }

    /// The agent dies with everything it runs; nothing of that will be reported.
    pub(crate) fn kill_agent(&mut self, instance: &str) {
        self.set_online(instance, false);
        let seqs: Vec<u64> = self.by_instance.get(instance).cloned().unwrap_or_default();
        for seq in seqs.into_iter().filter(|seq| self.open.contains(seq)).collect::<Vec<_>>() {
            let Some(command) = self.command_mut(seq) else { continue };
            for index in 0..command.invocations.len() {
                let Some(v) = self.invocation_mut(seq, index) else { continue };
                let running = matches!(v.state, State::InProgress | State::Cancelling);
                if v.instance != instance || !running {
                    continue;
                }
                self.kill(seq, index);
                if let Some(v) = self.invocation_mut(seq, index) {
                    v.abandoned = true;
                    v.report = None;
                    v.pickup = None;
                }
            }
        }
    }

    /// The machine ends, and its agent with it.
    pub(crate) fn machine_gone(&mut self, instance: &str) {
        self.kill_agent(instance);
        self.offline.remove(instance);
        self.gone.insert(instance.to_owned());
    }
}
