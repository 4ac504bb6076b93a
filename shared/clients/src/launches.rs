//! The group's launches, by its scaling activities.

use crate::aws::{Aws, explain};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};
use fleet_core::passport::MachineLaunch;
use fleet_core::scaling::Launch;
use fleet_core::text::cut;
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, Unknown};
use fleet_protocol::time::UnixMs;

/// How an activity that launches an instance begins; the instance's id comes after it.
const LAUNCHING: &str = "Launching a new EC2 instance";
/// Activities that are looked through for the last launch.
const NEWEST: i32 = 20;
/// The most that AWS gives at a time, and how often it is asked for the launch of one instance.
const PAGE: i32 = 100;
const PAGES: usize = 5;
/// What is kept of AWS's message about an activity, in characters.
const MESSAGE: usize = 400;

/// Reads activities, which AWS keeps for six weeks.
#[derive(Clone, Debug)]
pub struct Launches {
    client: Client,
}

impl Launches {
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: Client::new(&aws.sdk) }
    }

    /// The group's last launches, newest first, as far as the newest activities tell.
    pub async fn last(&self, group: &GroupName) -> Reading<Vec<Launch>> {
        match self.page(group, NEWEST, None).await {
            Ok((activities, _)) => {
                Reading::Known(activities.iter().filter_map(read_launch).collect())
            }
            Err(unknown) => Reading::Unknown(unknown),
        }
    }

    /// The launch of this instance; `None` where none of the newest 500 activities is it.
    pub async fn of(
        &self,
        group: &GroupName,
        instance: &InstanceId,
    ) -> Reading<Option<MachineLaunch>> {
        let mut next = None;
        for _ in 0..PAGES {
            let (activities, after) = match self.page(group, PAGE, next).await {
                Ok(page) => page,
                Err(unknown) => return Reading::Unknown(unknown),
            };
            let ours = activities.iter().find_map(|activity| read_machine(activity, instance));
            if ours.is_some() || after.is_none() {
                return Reading::Known(ours);
            }
            next = after;
        }
        Reading::Known(None)
    }

    async fn page(
        &self,
        group: &GroupName,
        most: i32,
        from: Option<String>,
    ) -> Result<(Vec<Activity>, Option<String>), Unknown> {
        let answer = self
            .client
            .describe_scaling_activities()
            .auto_scaling_group_name(group.as_str())
            .max_records(most)
            .set_next_token(from)
            .send()
            .await;
        match answer {
            Ok(page) => Ok((page.activities.unwrap_or_default(), page.next_token)),
            Err(error) => Err(explain("DescribeScalingActivities", error).into()),
        }
    }
}

fn started(activity: &Activity) -> Option<UnixMs> {
    activity.start_time.as_ref()?.to_millis().ok().map(UnixMs)
}

fn read_launch(activity: &Activity) -> Option<Launch> {
    use ScalingActivityStatusCode::{Cancelled, Failed, Successful};
    activity.description.as_deref().filter(|text| text.starts_with(LAUNCHING))?;
    let started = started(activity)?;
    let succeeded = match activity.status_code.as_ref()? {
        Successful => Some(true),
        Failed | Cancelled => Some(false),
        _ => None,
    };
    let message = activity.status_message.as_deref().unwrap_or_default();
    Some(Launch { started, succeeded, message: message.chars().take(MESSAGE).collect() })
}

fn read_machine(activity: &Activity, instance: &InstanceId) -> Option<MachineLaunch> {
    let description = activity.description.as_deref()?;
    let rest = description.strip_prefix(LAUNCHING)?.trim_start_matches([':', ' ']);
    (rest.split_whitespace().next()? == instance.as_str()).then_some(())?;
    let succeeded = activity.status_code == Some(ScalingActivityStatusCode::Successful);
    let ended = activity.end_time.as_ref().and_then(|at| at.to_millis().ok()).map(UnixMs);
    Some(MachineLaunch {
        instance: instance.clone(),
        launched: started(activity)?,
        in_service: ended.filter(|_| succeeded),
        cause: cut(activity.cause.as_deref().unwrap_or_default(), MESSAGE),
    })
}
