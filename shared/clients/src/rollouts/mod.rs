//! Rollouts through SSM: the commands that carry them, the agents that take them, and the
//! parameters that are stored.

mod read;
mod stored;

use crate::auto_scaling::OnlyIfRefused;
use crate::aws::{Aws, AwsError, AwsErrorKind, explain};
use crate::run_command::parameters;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::Builder;
use aws_sdk_ssm::error::SdkError;
use aws_sdk_ssm::types::{
    CommandFilter, CommandFilterKey, InstanceInformationStringFilter, PingStatus, Target,
};
use fleet_core::rollout::{
    CallResult, Command, Evidence, Kind, SendResult, Sending, Step, Targets,
};
use fleet_protocol::document::{self, HostCommand};
use fleet_protocol::ids::{CommandId, GroupName, InstanceId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::stable;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// The most that SSM gives at a time.
const PAGE: i32 = 50;
/// Our newest commands: drains use the same document, one command for each leaving instance every
/// four minutes, so a hundred of them send a thousand in forty minutes.
const RECENT_PAGES: usize = 20;
/// SSM's own window for handing a command to an agent. An agent that is online takes it in a
/// second.
const DELIVERY_S: i32 = 60;
/// The length of every id that SSM gives a command, a UUID.
const ID_LENGTH: usize = 36;
/// What a host gets to answer what it runs. Its command waits for its server for 60 s.
const SURVEY_S: u32 = 90;
/// For people: nobody reads it again.
const SURVEY_COMMENT: &str = "ghosthands survey";
/// What one order may take on one host. A deploy is accepted and waits for its job without SSM.
const ACTION_S: u32 = 900;

/// The rollouts of one environment.
#[derive(Clone, Debug)]
pub struct Rollouts {
    client: Client,
    document: String,
    group: GroupName,
    /// The two parameters that records of rollouts take turns in.
    records: [String; 2],
    /// The parameter of the stable pointer.
    stable: String,
    /// The parameter of the rollout that was cancelled last.
    cancelled: String,
    /// The parameter of the rollout that was paused, or let go on, last.
    paused: String,
    /// The parameter of how the jobs of a rollout end.
    outcomes: String,
}

/// Where the commands are listed.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Commands requested since then.
    pub since: Option<UnixMs>,
    /// At most so many pages of SSM's are read.
    pub pages: usize,
}

impl Rollouts {
    #[must_use]
    pub fn new(aws: &Aws, environment: &str, group: GroupName, document: String) -> Self {
        Self {
            client: Client::new(&aws.sdk),
            document,
            group,
            records: ["rollout", "rollout-2"]
                .map(|name| format!("/ghosthands/{environment}/{name}")),
            stable: stable::parameter(environment),
            cancelled: format!("/ghosthands/{environment}/rollout-cancelled"),
            paused: format!("/ghosthands/{environment}/rollout-paused"),
            outcomes: format!("/ghosthands/{environment}/rollout-outcomes"),
        }
    }

    /// Our commands of the last while, newest first.
    pub async fn recent(&self, since: UnixMs) -> Reading<Vec<Command>> {
        self.list(Page { since: Some(since), pages: RECENT_PAGES }).await
    }

    /// Our commands, newest first.
    pub async fn list(&self, page: Page) -> Reading<Vec<Command>> {
        let filter = |key, value: String| CommandFilter::builder().key(key).value(value).build();
        let since = page.since.map(|since| UnixMs(since.0 - since.0.rem_euclid(1000)).to_string());
        let filters = [(CommandFilterKey::DocumentName, self.document.clone())]
            .into_iter()
            .chain(since.map(|since| (CommandFilterKey::InvokedAfter, since)))
            .map(|(key, value)| filter(key, value))
            .collect::<Result<Vec<_>, _>>();
        let filters = match filters {
            Ok(filters) => filters,
            Err(error) => return unreadable(error.to_string()),
        };
        let mut pages = self
            .client
            .list_commands()
            .set_filters(Some(filters))
            .max_results(PAGE)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        for number in 0.. {
            // What is not listed counts as not sent, so a list with a beginning is read to its end.
            if number == page.pages && page.since.is_none() {
                break;
            }
            let Some(listed) = pages.next().await else { break };
            if number == page.pages {
                return unreadable(format!(
                    "more than {number} pages of commands were sent since {}: what is not on them is unknown",
                    page.since.unwrap_or_default()
                ));
            }
            match listed {
                Ok(page) => {
                    found.extend(
                        page.commands.unwrap_or_default().into_iter().filter_map(read::command),
                    );
                }
                Err(error) => return Reading::Unknown(explain("ListCommands", error).into()),
            }
        }
        Reading::Known(found)
    }

    /// A command of ours and what came of it on each host; `Known(None)` where SSM does not list
    /// it.
    pub async fn evidence(&self, id: &CommandId) -> Reading<Option<Evidence>> {
        // SSM refuses to look for what can be no id of its own.
        if id.as_str().len() != ID_LENGTH {
            return Reading::Known(None);
        }
        let (command, invocations) = tokio::join!(self.command(id), self.invocations(id));
        match (command, invocations) {
            (Ok(Some(command)), Ok(invocations)) => {
                Reading::Known(Some(Evidence { command, invocations }))
            }
            (Ok(None), Ok(_)) => Reading::Known(None),
            (Err(unknown), _) | (_, Err(unknown)) => Reading::Unknown(unknown),
        }
    }

    async fn command(&self, id: &CommandId) -> Result<Option<Command>, Unknown> {
        let answer = self.client.list_commands().command_id(id.as_str()).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => match explain("ListCommands", error) {
                AwsError { kind: AwsErrorKind::Missing, .. } => return Ok(None),
                error => return Err(error.into()),
            },
        };
        Ok(answer.commands.unwrap_or_default().into_iter().find_map(read::command))
    }

    async fn invocations(
        &self,
        id: &CommandId,
    ) -> Result<Vec<fleet_core::rollout::Invocation>, Unknown> {
        let mut pages = self
            .client
            .list_command_invocations()
            .command_id(id.as_str())
            .details(true)
            .max_results(PAGE)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => match explain("ListCommandInvocations", error) {
                    AwsError { kind: AwsErrorKind::Missing, .. } => return Ok(found),
                    error => return Err(error.into()),
                },
            };
            for invocation in page.command_invocations.unwrap_or_default() {
                let read = read::invocation(invocation);
                found.push(
                    read.map_err(|detail| Unknown { cause: UnknownCause::Unreadable, detail })?,
                );
            }
        }
        Ok(found)
    }

    /// Who of the group has an agent, and whether it is online.
    pub async fn managed(&self) -> Reading<BTreeMap<InstanceId, bool>> {
        let of_group = InstanceInformationStringFilter::builder()
            .key("tag:aws:autoscaling:groupName")
            .values(self.group.as_str())
            .build();
        let of_group = match of_group {
            Ok(filter) => filter,
            Err(error) => return unreadable(error.to_string()),
        };
        let mut pages = self
            .client
            .describe_instance_information()
            .filters(of_group)
            .max_results(PAGE)
            .into_paginator()
            .send();
        let mut managed = BTreeMap::new();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => managed.extend(
                    page.instance_information_list.unwrap_or_default().into_iter().filter_map(
                        |agent| {
                            let online = agent.ping_status == Some(PingStatus::Online);
                            Some((InstanceId::new(agent.instance_id?), online))
                        },
                    ),
                ),
                Err(error) => {
                    return Reading::Unknown(explain("DescribeInstanceInformation", error).into());
                }
            }
        }
        Reading::Known(managed)
    }

    /// Sends a command. SSM has no idempotency token, so it is sent again only where SSM said that
    /// it did nothing.
    pub async fn send(&self, sending: &Sending) -> SendResult {
        let Sending { order, image_tag, force, host_order, job_limit_s, targets } = sending;
        let seconds = if order.step() == Step::Survey { SURVEY_S } else { ACTION_S };
        let command = HostCommand {
            image_tag: image_tag.clone(),
            force: *force,
            order: host_order.clone(),
            job_limit_s: *job_limit_s,
            execution_s: Some(seconds),
            // Taken out of service and not out of the group: it can be undone.
            leaving: (order.kind == Kind::Drain).then_some(false),
            ..HostCommand::new(order.action())
        };
        let mut call = self
            .client
            .send_command()
            .document_name(&self.document)
            .comment(order.comment())
            .timeout_seconds(DELIVERY_S)
            // How many hosts are at it is the rollout's own care: AWS's pages disagree on whether
            // SSM waits for a host's end before it goes on, or for its acknowledgement only.
            .max_concurrency("100%")
            .max_errors("100%")
            .set_parameters(Some(parameters(&command)));
        call = match targets {
            Targets::Hosts(hosts) => {
                call.set_instance_ids(Some(hosts.iter().map(ToString::to_string).collect()))
            }
            Targets::Group => call.targets(self.whole_group()),
        };
        let answer = call
            .customize()
            .config_override(Builder::new().retry_classifier(OnlyIfRefused))
            .send()
            .await;
        match answer {
            Ok(answer) => match answer.command.and_then(|command| command.command_id) {
                Some(id) => SendResult::Sent { id: CommandId::new(id) },
                None => SendResult::Lost { detail: "SendCommand gave no command id".to_owned() },
            },
            Err(error) => {
                let refused = match &error {
                    SdkError::ServiceError(answer) => answer.raw().status().is_client_error(),
                    SdkError::ConstructionFailure(_) => true,
                    _ => false,
                };
                let detail = explain("SendCommand", error).detail;
                if refused { SendResult::Refused { detail } } else { SendResult::Lost { detail } }
            }
        }
    }

    /// Asks every host of the group what it runs. Nobody waits for the answers: whoever looks at
    /// the fleet reads them.
    ///
    /// # Errors
    /// Why nothing was sent, or may not have been.
    pub async fn survey(&self) -> Result<CommandId, AwsError> {
        let answer = self
            .client
            .send_command()
            .document_name(document::survey(&self.document))
            .comment(SURVEY_COMMENT)
            .timeout_seconds(DELIVERY_S)
            .max_concurrency("100%")
            .max_errors("100%")
            .targets(self.whole_group())
            .send()
            .await
            .map_err(|error| explain("SendCommand", error))?;
        let id = answer.command.and_then(|command| command.command_id);
        let no_id = || AwsError::new(AwsErrorKind::Unreadable, "SendCommand gave no command id");
        id.map(CommandId::new).ok_or_else(no_id)
    }

    fn whole_group(&self) -> Target {
        let group = Target::builder().key("tag:aws:autoscaling:groupName");
        group.values(self.group.as_str()).build()
    }

    /// Takes a command back: from these hosts, or from all where none is named. What a host has
    /// begun it finishes or undoes by itself.
    pub async fn cancel(&self, id: &CommandId, instances: &[InstanceId]) -> CallResult {
        let instances: Vec<String> = instances.iter().map(ToString::to_string).collect();
        let answer = self
            .client
            .cancel_command()
            .command_id(id.as_str())
            .set_instance_ids((!instances.is_empty()).then_some(instances))
            .send()
            .await;
        done(answer.map(drop).map_err(|error| explain("CancelCommand", error)))
    }
}

fn done(result: Result<(), AwsError>) -> CallResult {
    match result {
        Ok(()) => CallResult::Done,
        Err(error) => CallResult::Failed { detail: error.detail },
    }
}

fn unreadable<T>(detail: String) -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::Unreadable, detail })
}
