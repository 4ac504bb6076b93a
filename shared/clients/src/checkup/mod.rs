//! What an operator may read of a fleet to find out what is wrong with it. Every call here is a
//! `Describe`, `Get` or `List`; docs/policies/doctor.json allows exactly these.

mod account;
mod document;
mod group;

pub use crate::alarms::Alarm;
pub use account::{Concurrency, Identity, LaunchTemplate, Subscriber};
pub use document::HostDocument;
pub use group::{Activity, CheckedGroup, Hook, TemplateRef};

use crate::aws::Aws;
use crate::config::AwsConfig;
use crate::signed::SignedCalls;

/// Reads one group and the account around it.
#[derive(Debug)]
pub struct Checkup {
    auto_scaling: aws_sdk_autoscaling::Client,
    ssm: aws_sdk_ssm::Client,
    calls: SignedCalls,
}

impl Checkup {
    #[must_use]
    pub fn new(aws: &Aws, config: &AwsConfig) -> Self {
        Self {
            auto_scaling: aws_sdk_autoscaling::Client::new(&aws.sdk),
            ssm: aws_sdk_ssm::Client::new(&aws.sdk),
            calls: SignedCalls::new(config),
        }
    }
}
