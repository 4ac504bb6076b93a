//! Why a group launches no instance, in AWS's own words.

use super::{Launch, Observation};
use fleet_protocol::reading::Reading;
use serde::{Deserialize, Serialize};

/// What made a launch fail, told apart by what an operator does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchFailure {
    /// EC2 has no machine of this type left in these zones.
    Capacity,
    /// A quota of the account is used up.
    Quota,
    /// The image, the launch template or the rights to use them are wrong.
    Template,
    /// Something else.
    Other,
    /// The activities could not be read.
    Unknown,
}

/// Words of AWS's messages that tell the kinds apart: error codes of EC2, which Auto Scaling puts
/// into its status messages, and the sentences that it uses in their place.
const WORDS: [(LaunchFailure, &[&str]); 3] = [
    (
        LaunchFailure::Quota,
        &[
            "vcpulimitexceeded",
            "instancelimitexceeded",
            "maxspotinstancecountexceeded",
            "volumelimitexceeded",
            "addresslimitexceeded",
            "limit exceeded",
            "limitexceeded",
            "your quota",
            "current vcpu limit",
            "instance quota",
        ],
    ),
    (
        LaunchFailure::Capacity,
        &[
            "insufficientinstancecapacity",
            "insufficienthostcapacity",
            "insufficientcapacity",
            "unfulfillablecapacity",
            "sufficient",
            "insufficientfreeaddressesinsubnet",
            "not enough free addresses",
        ],
    ),
    (
        LaunchFailure::Template,
        &[
            "invalid",
            "does not exist",
            "image id",
            "launch template",
            "launchtemplate",
            "instance profile",
            "not authorized",
            "unauthorizedoperation",
            "accessdenied",
            "kms",
            "client error on launch",
            "unsupported",
            "not supported",
            "architecture",
            "security group",
            "key pair",
            "subnet",
            "ami-",
        ],
    ),
];

impl std::fmt::Display for LaunchFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LaunchFailure::Capacity => "EC2 has no capacity for a launch",
            LaunchFailure::Quota => "a quota of the account forbids a launch",
            LaunchFailure::Template => {
                "the launch template, its image or the rights to it are wrong"
            }
            LaunchFailure::Other => "the last launch failed",
            LaunchFailure::Unknown => "DescribeScalingActivities gave no answer",
        })
    }
}

impl LaunchFailure {
    /// What a status message of a failed activity is about.
    #[must_use]
    pub fn of(message: &str) -> LaunchFailure {
        let message = message.to_lowercase();
        let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| message.contains(word)));
        found.map_or(LaunchFailure::Other, |(kind, _)| *kind)
    }
}

/// Why the last launch came to nothing; `None` where it did not, or was not looked at.
pub(super) fn failure(observation: &Observation) -> Option<(LaunchFailure, String)> {
    match observation.launches.as_ref()? {
        Reading::Unknown(source) => Some((LaunchFailure::Unknown, source.detail.clone())),
        Reading::Known(launches) => {
            let ended = launches.iter().filter(|launch| launch.succeeded.is_some());
            let last = ended.max_by_key(|launch| launch.started)?;
            let Launch { succeeded, message, .. } = last;
            (*succeeded == Some(false)).then(|| (LaunchFailure::of(message), message.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as AWS's documents and public reports show them.
    #[test]
    fn awss_messages_are_told_apart() {
        let capacity = "We currently do not have sufficient t3.large capacity in the Availability \
                        Zone you requested (us-east-1a). Our system will be working on \
                        provisioning additional capacity. Launching EC2 instance failed.";
        let quota = "You have requested more vCPU capacity than your current vCPU limit of 32 \
                     allows for the instance bucket that the specified instance type belongs to. \
                     Please visit http://aws.amazon.com/contact-us/ec2-request to request an \
                     adjustment to this limit. Launching EC2 instance failed.";
        for (message, expected) in [
            (capacity, LaunchFailure::Capacity),
            (
                "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill \
                 capacity due to your request configuration.",
                LaunchFailure::Capacity,
            ),
            (
                "Could not launch On-Demand Instances. InsufficientInstanceCapacity - There is no \
                 Spot capacity available that matches your request. Launching EC2 instance failed.",
                LaunchFailure::Capacity,
            ),
            (quota, LaunchFailure::Quota),
            (
                "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance \
                 count exceeded. Launching EC2 instance failed.",
                LaunchFailure::Quota,
            ),
            (
                "The image id '[ami-0123456789abcdef0]' does not exist. Launching EC2 instance \
                 failed.",
                LaunchFailure::Template,
            ),
            (
                "Client.InternalError: Client error on launch. Launching EC2 instance failed.",
                LaunchFailure::Template,
            ),
            (
                "Invalid IAM Instance Profile name. Launching EC2 instance failed.",
                LaunchFailure::Template,
            ),
            ("Something new went wrong.", LaunchFailure::Other),
        ] {
            assert_eq!(LaunchFailure::of(message), expected, "{message}");
        }
    }
}
