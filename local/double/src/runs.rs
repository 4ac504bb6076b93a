//! Commands on hosts: which machines can get them, and the tasks that run them.

use std::sync::Arc;

use crate::account::{Account, lock};
use crate::asg::LifecycleState;
use crate::commands::{Machine, RunKey};
use crate::runner::{CommandRun, CommandRunner};

/// Takes a run off the list however it ends: done, aborted or panicked.
struct Listed {
    account: Arc<Account>,
    key: RunKey,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.account.runs).remove(&self.key);
        self.account.step();
    }
}

impl Account {
    /// Gives a runner to one instance, or to all that have none of their own.
    pub(crate) fn set_runner(&self, instance: Option<&str>, runner: Arc<dyn CommandRunner>) {
        lock(&self.runners).set(instance, runner);
    }

    /// The machines of all groups as Run Command sees them. An agent has registered when the boot
    /// is over, someone runs commands there, and the machine has not begun to shut down.
    pub(crate) fn machines(&self) -> Vec<Machine> {
        let runners = lock(&self.runners);
        self.with_groups(|asg| {
            let groups = asg.groups().values();
            groups
                .flat_map(|group| group.instances.iter().map(move |i| (group, i)))
                .map(|(group, i)| {
                    let up = !matches!(
                        i.state,
                        LifecycleState::Pending
                            | LifecycleState::Terminating
                            | LifecycleState::TerminatingProceed
                    );
                    let propagated = group.tags.iter().filter(|(_, tag)| tag.propagate);
                    let mut tags: std::collections::BTreeMap<String, String> =
                        propagated.map(|(key, tag)| (key.clone(), tag.value.clone())).collect();
                    tags.insert("aws:autoscaling:groupName".to_owned(), group.name.clone());
                    let managed = up && i.running && runners.get(&i.id).is_some();
                    Machine { id: i.id.clone(), managed, tags }
                })
                .collect()
        })
    }

    /// Begins and ends the runs that the commands ask for.
    pub(crate) fn start_and_stop_runs(self: &Arc<Self>) {
        let wanted = lock(&self.commands).take_runs();
        for key in wanted.begin {
            let Some((runner, run)) = self.prepare(&key) else { continue };
            let listed = Listed { account: Arc::clone(self), key: key.clone() };
            // Held until the handle is in place: a run that ends at once finds itself.
            let mut runs = lock(&self.runs);
            let handle = lock(&self.deliveries).spawn(execute(listed, runner, run));
            runs.insert(key, handle);
        }
        for key in wanted.kill {
            if let Some(handle) = lock(&self.runs).get(&key) {
                handle.abort();
            }
        }
    }

    fn prepare(&self, key: &RunKey) -> Option<(Arc<dyn CommandRunner>, CommandRun)> {
        let runner = lock(&self.runners).get(&key.instance)?;
        let commands = lock(&self.commands);
        let command = commands.command(key.seq)?;
        let run = CommandRun {
            command_id: command.id.clone(),
            instance: key.instance.clone(),
            document: command.document.clone(),
            comment: command.comment.clone(),
            parameters: command.effective.clone(),
            script: command.script.clone(),
            directory: command.directory.clone(),
            timeout: command.execution,
            delivery: key.delivery,
        };
        Some((runner, run))
    }
}

async fn execute(listed: Listed, runner: Arc<dyn CommandRunner>, run: CommandRun) {
    let output = runner.run(run).await;
    listed.account.with_commands(|commands| commands.report(&listed.key, output));
}
