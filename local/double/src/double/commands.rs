//! The double's handle on Run Command: who runs commands, and what goes wrong with them.

use std::sync::Arc;

use super::Double;
use crate::account::lock;
use crate::commands::{Command, CommandFault, CommandSettings};
use crate::error::ApiError;
use crate::runner::CommandRunner;

impl Double {
    /// Gives every instance that has no runner of its own an agent that runs commands by this one.
    /// Until an instance has a runner, its agent is not registered: it is in no listing and cannot
    /// be sent commands.
    pub fn set_runner(&self, runner: impl CommandRunner + 'static) {
        self.account.set_runner(None, Arc::new(runner));
    }

    /// Gives one instance an agent that runs commands by this runner. The instance need not exist
    /// yet.
    pub fn set_runner_of(&self, instance: &str, runner: impl CommandRunner + 'static) {
        self.account.set_runner(Some(instance), Arc::new(runner));
    }

    /// Registers a command document, schema 2.2 in JSON.
    ///
    /// # Errors
    /// What `CreateDocument` would answer.
    pub fn create_document(&self, name: &str, content: &str) -> Result<(), ApiError> {
        self.account.with_commands(|commands| commands.create_document(name, content))
    }

    /// Every command so far, oldest first.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        self.account.with_commands(|commands| commands.commands().to_vec())
    }

    /// How commands travel.
    #[must_use]
    pub fn command_settings(&self) -> CommandSettings {
        lock(&self.account.commands).settings
    }

    /// Changes how commands travel; pick-ups that are under way stay as they are.
    ///
    /// # Errors
    /// A page of no entries, or a time longer than a day.
    pub fn set_command_settings(&self, settings: CommandSettings) -> Result<(), ApiError> {
        settings.check()?;
        self.account.with_commands(|commands| commands.settings = settings);
        Ok(())
    }

    /// Plans a fault for the next command that is sent to this instance, or to any for `*`. Faults
    /// strike once each, in the order in which they were planned.
    pub fn plan_command_fault(&self, instance: &str, fault: CommandFault) {
        self.account.with_commands(|commands| commands.plan_fault(instance, fault));
    }

    /// An agent loses its connection or regains it. What it runs goes on; its result waits until it
    /// is back.
    pub fn set_agent_online(&self, instance: &str, online: bool) {
        self.account.with_commands(|commands| commands.set_online(instance, online));
    }

    /// An agent dies with everything it runs, of which nothing will be reported. It is offline
    /// until [`Double::set_agent_online`] brings it back.
    pub fn kill_agent(&self, instance: &str) {
        self.account.with_commands(|commands| commands.kill_agent(instance));
    }
}
