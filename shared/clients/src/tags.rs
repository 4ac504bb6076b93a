//! Tags on the Auto Scaling group itself, not on its instances.

use crate::aws::{Aws, AwsError, explain};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::Tag;
use aws_sdk_autoscaling::types::builders::TagBuilder;
use fleet_protocol::ids::GroupName;

#[derive(Clone, Debug)]
pub struct GroupTags {
    client: Client,
}

impl GroupTags {
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: Client::new(&aws.sdk) }
    }

    /// Writes tags, whether or not they exist. Asking twice is the same as asking once.
    ///
    /// # Errors
    /// `Contention` where another request holds the group's tags.
    pub async fn write(
        &self,
        group: &GroupName,
        tags: &[(&'static str, String)],
    ) -> Result<(), AwsError> {
        let tag = |(key, value): &(&'static str, String)| tag(group, key).value(value).build();
        self.client
            .create_or_update_tags()
            .set_tags(Some(tags.iter().map(tag).collect()))
            .send()
            .await
            .map(drop)
            .map_err(|error| explain("CreateOrUpdateTags", error))
    }

    /// Removes tags. One that is not there is as good as removed.
    ///
    /// # Errors
    /// `Contention` where another request holds the group's tags.
    pub async fn remove(&self, group: &GroupName, keys: &[&'static str]) -> Result<(), AwsError> {
        self.client
            .delete_tags()
            .set_tags(Some(keys.iter().map(|key| tag(group, key).build()).collect()))
            .send()
            .await
            .map(drop)
            .map_err(|error| explain("DeleteTags", error))
    }
}

fn tag(group: &GroupName, key: &str) -> TagBuilder {
    Tag::builder()
        .resource_id(group.as_str())
        .resource_type("auto-scaling-group")
        .key(key)
        .propagate_at_launch(false)
}
