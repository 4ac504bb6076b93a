//! Whether machines run, by EC2's own word.

use crate::aws::AwsError;
use crate::config::AwsConfig;
use crate::signed::{Asks, Call, Service, SignedCalls, each, read_xml, text, unreadable};
use crate::telemetry::error_chain;
use aws_smithy_xml::decode::XmlDecodeError;
use fleet_core::drain::Machine;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::Reading;
use std::collections::BTreeMap;

const CALL: &str = "DescribeInstances";
const SERVICE: Service = Service("ec2");
pub(crate) const VERSION: &str = "2016-11-15";
/// EC2's limit on the values of one filter.
const AT_A_TIME: usize = 200;

/// EC2, for one question.
#[derive(Debug)]
pub struct Ec2 {
    calls: SignedCalls,
}

impl Ec2 {
    #[must_use]
    pub fn new(config: &AwsConfig) -> Self {
        Self { calls: SignedCalls::new(config) }
    }

    /// The state of each of these machines that EC2 still knows; it forgets one an hour after its
    /// end.
    pub async fn instance_states(
        &self,
        ids: &[InstanceId],
    ) -> Reading<BTreeMap<InstanceId, Machine>> {
        let mut states = BTreeMap::new();
        for ids in ids.chunks(AT_A_TIME) {
            match self.ask(ids).await {
                Ok(found) => states.extend(found),
                Err(error) => return Reading::Unknown(error.into()),
            }
        }
        Reading::Known(states)
    }

    async fn ask(&self, ids: &[InstanceId]) -> Result<BTreeMap<InstanceId, Machine>, AwsError> {
        let mut parameters = "&Filter.1.Name=instance-id".to_owned();
        for (n, id) in ids.iter().enumerate() {
            // An id is letters, digits and a hyphen; the checks of this crate let nothing else in.
            parameters.push_str(&format!("&Filter.1.Value.{}={}", n + 1, id.as_str()));
        }
        let request = Asks::Query { version: VERSION, parameters: &parameters };
        let answer = self.calls.make(Call { service: SERVICE, name: CALL, request }).await?;
        parse(&answer.text).map_err(|error| unreadable(CALL, &error_chain(&error)))
    }
}

/// Ids and states, wherever in their reservations they are.
fn parse(answer: &str) -> Result<BTreeMap<InstanceId, Machine>, XmlDecodeError> {
    let mut states = BTreeMap::new();
    let path = ["reservationSet", "item", "instancesSet", "item"];
    read_xml(answer, "DescribeInstancesResponse", |root| {
        each(root, &path, &mut |instance| {
            let (mut id, mut state) = (None, None);
            while let Some(mut field) = instance.next_tag() {
                if field.start_el().matches("instanceId") {
                    id = Some(text(&mut field)?);
                } else if field.start_el().matches("instanceState") {
                    each(&mut field, &["name"], &mut |name| {
                        state = Some(Machine::read(&text(name)?));
                        Ok(())
                    })?;
                }
            }
            let (Some(id), Some(state)) = (id, state) else {
                return Err(XmlDecodeError::custom("an instance lacks its id or state"));
            };
            states.insert(InstanceId::new(id), state);
            Ok(())
        })
    })?;
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_found_in_every_reservation() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
              <requestId>r</requestId><reservationSet>
                <item><reservationId>r-1</reservationId><groupSet/><instancesSet>
                  <item><instanceId>i-1</instanceId><imageId>ami-1</imageId>
                    <instanceState><code>16</code><name>running</name></instanceState>
                    <placement><groupName/><tenancy>default</tenancy></placement>
                    <networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId>
                      <attachment><status>attached</status></attachment></item></networkInterfaceSet></item>
                  <item><instanceId>i-2</instanceId>
                    <instanceState><code>32</code><name>shutting-down</name></instanceState></item>
                </instancesSet></item>
                <item><instancesSet><item><instanceId>i-3</instanceId>
                    <instanceState><code>0</code><name>pending</name></instanceState></item></instancesSet></item>
              </reservationSet></DescribeInstancesResponse>"#;
        let states = parse(text).unwrap();
        let state = |id: &str| states[&InstanceId::new(id)].clone();
        assert_eq!(state("i-1"), Machine::Running);
        assert_eq!(state("i-2"), Machine::Gone("shutting-down".to_owned()));
        assert_eq!(state("i-3"), Machine::Other("pending".to_owned()));
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_never_nobody() {
        for text in [
            "",
            "<html>",
            "<a/>",
            "{}",
            "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId></item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
        ] {
            parse(text).expect_err(text);
        }
    }
}
