//! The account around a group: who asks, what instances are launched from, whom alarms reach, and
//! how many invocations Lambda allows.

use super::Checkup;
use crate::alarms::{self, Alarm};
use crate::aws::AwsError;
use crate::ec2;
use crate::signed::{Answer, Asks, Call, Service, each, encoded, read_xml, text, unreadable};
use crate::telemetry::error_chain;
use aws_smithy_xml::decode::{ScopedDecoder, XmlDecodeError};
use fleet_protocol::time::UnixMs;
use serde_json::Value;

/// A stack has fewer alarms than one page holds.
const ALARMS: u32 = 100;
const CONCURRENCY: &str = "GetAccountSettings";

/// Who the credentials are, and AWS's clock as it said so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub arn: String,
    pub account: String,
    pub at: Option<UnixMs>,
}

/// One version of a launch template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchTemplate {
    pub name: String,
    pub version: String,
    pub image: String,
    pub instance_type: String,
    /// The instance profile by ARN or name; empty where there is none.
    pub profile: String,
    /// `required` where instance metadata is given for a token only.
    pub http_tokens: String,
    /// `enabled` where an instance may read its own tags.
    pub metadata_tags: String,
}

/// One who is told of what a topic is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriber {
    pub protocol: String,
    /// Not confirmed yet: it gets nothing.
    pub pending: bool,
}

/// How many invocations the account and region may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    pub limit: u64,
    /// What no function has reserved.
    pub unreserved: u64,
}

impl Checkup {
    /// Who the credentials are.
    ///
    /// # Errors
    /// `Denied` where AWS does not know them, or they have expired.
    pub async fn identity(&self) -> Result<Identity, AwsError> {
        let path = ["GetCallerIdentityResult"];
        let mut identity = Identity::default();
        let answer = self.query("sts", "GetCallerIdentity", "2011-06-15", "").await?;
        parse("GetCallerIdentity", &answer, &path, &mut |found| {
            while let Some(mut field) = found.next_tag() {
                match field.start_el().local() {
                    "Arn" => identity.arn = text(&mut field)?,
                    "Account" => identity.account = text(&mut field)?,
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(Identity { at: answer.at, ..identity })
    }

    /// A version of a launch template: a number, `$Latest` or `$Default`.
    ///
    /// # Errors
    /// `Missing` where there is no such template or version.
    pub async fn launch_template(
        &self,
        id: &str,
        version: &str,
    ) -> Result<LaunchTemplate, AwsError> {
        const CALL: &str = "DescribeLaunchTemplateVersions";
        let parameters = format!(
            "&LaunchTemplateId={}&LaunchTemplateVersion.1={}",
            encoded(id),
            encoded(version)
        );
        let answer = self.query("ec2", CALL, ec2::VERSION, &parameters).await?;
        let mut template = LaunchTemplate::default();
        parse(CALL, &answer, &["launchTemplateVersionSet", "item"], &mut |found| {
            while let Some(mut field) = found.next_tag() {
                match field.start_el().local() {
                    "launchTemplateName" => template.name = text(&mut field)?,
                    "versionNumber" => template.version = text(&mut field)?,
                    "launchTemplateData" => read_template(&mut template, &mut field)?,
                    _ => {}
                }
            }
            Ok(())
        })?;
        if template.version.is_empty() {
            return Err(unreadable(CALL, "it has no version of a launch template"));
        }
        Ok(template)
    }

    /// The alarms whose names begin so.
    ///
    /// # Errors
    /// Why they are not known.
    pub async fn alarms(&self, prefix: &str) -> Result<Vec<Alarm>, AwsError> {
        let parameters = format!("&AlarmNamePrefix={}&MaxRecords={ALARMS}", encoded(prefix));
        alarms::describe(&self.calls, &parameters).await
    }

    /// Whom this topic tells, as far as the first page goes, which has a hundred.
    ///
    /// # Errors
    /// Why they are not known.
    pub async fn subscribers(&self, topic: &str) -> Result<Vec<Subscriber>, AwsError> {
        const CALL: &str = "ListSubscriptionsByTopic";
        let parameters = format!("&TopicArn={}", encoded(topic));
        let answer = self.query("sns", CALL, "2010-03-31", &parameters).await?;
        let mut subscribers = Vec::new();
        let path = ["ListSubscriptionsByTopicResult", "Subscriptions", "member"];
        parse(CALL, &answer, &path, &mut |found| {
            let mut subscriber = Subscriber::default();
            while let Some(mut field) = found.next_tag() {
                match field.start_el().local() {
                    "Protocol" => subscriber.protocol = text(&mut field)?,
                    // In place of an ARN.
                    "SubscriptionArn" => {
                        subscriber.pending = text(&mut field)? == "PendingConfirmation";
                    }
                    _ => {}
                }
            }
            subscribers.push(subscriber);
            Ok(())
        })?;
        Ok(subscribers)
    }

    /// How many invocations of functions Lambda allows at a time.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn concurrency(&self) -> Result<Concurrency, AwsError> {
        let request = Asks::Get { path: "/2016-08-19/account-settings" };
        let call = Call { service: Service("lambda"), name: CONCURRENCY, request };
        let answer = self.calls.make(call).await?;
        let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let number = |name: &str| body["AccountLimit"][name].as_u64();
        match (number("ConcurrentExecutions"), number("UnreservedConcurrentExecutions")) {
            (Some(limit), Some(unreserved)) => Ok(Concurrency { limit, unreserved }),
            _ => Err(unreadable(CONCURRENCY, "it has no limits")),
        }
    }

    async fn query(
        &self,
        service: &'static str,
        name: &'static str,
        version: &'static str,
        parameters: &str,
    ) -> Result<Answer, AwsError> {
        let request = Asks::Query { version, parameters };
        self.calls.make(Call { service: Service(service), name, request }).await
    }
}

fn read_template(
    template: &mut LaunchTemplate,
    data: &mut ScopedDecoder<'_, '_>,
) -> Result<(), XmlDecodeError> {
    while let Some(mut field) = data.next_tag() {
        match field.start_el().local() {
            "imageId" => template.image = text(&mut field)?,
            "instanceType" => template.instance_type = text(&mut field)?,
            "iamInstanceProfile" => {
                while let Some(mut name) = field.next_tag() {
                    template.profile = text(&mut name)?;
                }
            }
            "metadataOptions" => {
                while let Some(mut option) = field.next_tag() {
                    match option.start_el().local() {
                        "httpTokens" => template.http_tokens = text(&mut option)?,
                        "instanceMetadataTags" => template.metadata_tags = text(&mut option)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads what is at this path of the answer to `call`.
fn parse(
    call: &str,
    answer: &Answer,
    path: &[&str],
    read: &mut dyn FnMut(&mut ScopedDecoder<'_, '_>) -> Result<(), XmlDecodeError>,
) -> Result<(), AwsError> {
    let root = format!("{call}Response");
    read_xml(&answer.text, &root, |root| each(root, path, read))
        .map_err(|error| unreadable(call, &error_chain(&error)))
}
