//! CloudWatch alarms.

use crate::aws::AwsError;
use crate::config::AwsConfig;
use crate::signed::{Asks, Call, Service, SignedCalls, each, encoded, read_xml, text, unreadable};
use crate::telemetry::error_chain;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_smithy_xml::decode::{ScopedDecoder, XmlDecodeError};
use fleet_core::rollout::FiredAlarm;
use fleet_protocol::line::clip;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::sync::OnceLock;

const CALL: &str = "DescribeAlarms";
/// What a page holds at most.
const PAGE: u32 = 100;

/// One alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    pub reason: String,
    /// When its state changed last; where an old alarm has no such moment, when it was set last.
    pub since: Option<UnixMs>,
    /// Somebody switched its actions off.
    pub actions_off: bool,
    /// ARNs of whom it tells.
    pub tells: Vec<String>,
}

/// Asks whether alarms fire.
#[derive(Debug)]
pub struct Alarms {
    config: AwsConfig,
    /// Made when it is needed first: most sites name no alarm, and a start is to stay short.
    calls: OnceLock<SignedCalls>,
}

impl Alarms {
    #[must_use]
    pub fn new(config: &AwsConfig) -> Self {
        Self { config: config.clone(), calls: OnceLock::new() }
    }

    /// Those of these alarms, metric alarms or composite ones, that are in `ALARM`. Unknown where
    /// CloudWatch does not know each of them: an alarm that does not exist never fires.
    pub async fn fired(&self, names: &[String]) -> Reading<Vec<FiredAlarm>> {
        let mut parameters = format!("&MaxRecords={PAGE}");
        for (n, kind) in ["MetricAlarm", "CompositeAlarm"].iter().enumerate() {
            parameters.push_str(&format!("&AlarmTypes.member.{}={kind}", n + 1));
        }
        for (n, name) in names.iter().enumerate() {
            parameters.push_str(&format!("&AlarmNames.member.{}={}", n + 1, encoded(name)));
        }
        let calls = self.calls.get_or_init(|| SignedCalls::new(&self.config));
        match describe(calls, &parameters).await {
            Ok(alarms) => fired(names, alarms),
            Err(error) => Reading::Unknown(error.into()),
        }
    }
}

fn fired(names: &[String], alarms: Vec<Alarm>) -> Reading<Vec<FiredAlarm>> {
    let missing = names.iter().find(|name| alarms.iter().all(|alarm| alarm.name != **name));
    if let Some(name) = missing {
        return Reading::Unknown(Unknown {
            cause: UnknownCause::Missing,
            detail: format!(
                "CloudWatch has no alarm {name} in this account and region: make it, or take it \
                 out of ROLLOUT_ALARMS (the stack's parameter RolloutAlarms)"
            ),
        });
    }
    let firing = alarms.into_iter().filter(|alarm| alarm.state == "ALARM");
    let alarms = firing.map(|alarm| {
        // One without a moment may have fired just now.
        let since = alarm.since.unwrap_or(UnixMs(i64::MAX));
        let name = clip(&alarm.name, FiredAlarm::NAME);
        FiredAlarm { name, since, reason: clip(&alarm.reason, FiredAlarm::REASON) }
    });
    Reading::Known(alarms.collect())
}

/// The alarms that these parameters ask for, as far as one page goes.
///
/// # Errors
/// Why they are not known.
pub(crate) async fn describe(
    calls: &SignedCalls,
    parameters: &str,
) -> Result<Vec<Alarm>, AwsError> {
    let request = Asks::Query { version: "2010-08-01", parameters };
    let answer = calls.make(Call { service: Service("monitoring"), name: CALL, request }).await?;
    parse(&answer.text).map_err(|error| unreadable(CALL, &error_chain(&error)))
}

fn parse(answer: &str) -> Result<Vec<Alarm>, XmlDecodeError> {
    let mut alarms = Vec::new();
    read_xml(answer, "DescribeAlarmsResponse", |root| {
        each(root, &["DescribeAlarmsResult"], &mut |result| {
            while let Some(mut kind) = result.next_tag() {
                if !matches!(kind.start_el().local(), "MetricAlarms" | "CompositeAlarms") {
                    continue;
                }
                each(&mut kind, &["member"], &mut |found| {
                    alarms.push(read(found)?);
                    Ok(())
                })?;
            }
            Ok(())
        })
    })?;
    Ok(alarms)
}

fn read(found: &mut ScopedDecoder<'_, '_>) -> Result<Alarm, XmlDecodeError> {
    let mut alarm = Alarm::default();
    let mut updated = None;
    while let Some(mut field) = found.next_tag() {
        match field.start_el().local() {
            "AlarmName" => alarm.name = text(&mut field)?,
            "StateValue" => alarm.state = text(&mut field)?,
            "StateReason" => alarm.reason = text(&mut field)?,
            "StateTransitionedTimestamp" => alarm.since = moment(&text(&mut field)?),
            "StateUpdatedTimestamp" => updated = moment(&text(&mut field)?),
            "ActionsEnabled" => alarm.actions_off = text(&mut field)? == "false",
            "AlarmActions" => each(&mut field, &["member"], &mut |arn| {
                alarm.tells.push(text(arn)?);
                Ok(())
            })?,
            _ => {}
        }
    }
    alarm.since = alarm.since.or(updated);
    Ok(alarm)
}

fn moment(text: &str) -> Option<UnixMs> {
    let moment = DateTime::from_str(text, Format::DateTime).ok()?;
    moment.to_millis().ok().map(UnixMs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of CloudWatch's reference, "DescribeAlarms", with a composite alarm beside.
    const ANSWER: &str = "<DescribeAlarmsResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\">\
        <DescribeAlarmsResult><CompositeAlarms><member><AlarmName>all</AlarmName>\
        <StateValue>OK</StateValue></member></CompositeAlarms><MetricAlarms><member>\
        <AlarmName>checkout</AlarmName><StateValue>ALARM</StateValue>\
        <StateReason>Threshold Crossed</StateReason>\
        <StateUpdatedTimestamp>2026-11-25T08:00:09.500Z</StateUpdatedTimestamp>\
        <StateTransitionedTimestamp>2026-11-25T08:00:00.250Z</StateTransitionedTimestamp>\
        <AlarmActions><member>arn:aws:sns:r:1:t</member></AlarmActions></member></MetricAlarms>\
        </DescribeAlarmsResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
        </DescribeAlarmsResponse>";

    #[test]
    fn alarms_of_both_kinds_are_read_with_the_moment_of_their_change() {
        let alarms = parse(ANSWER).unwrap();
        assert_eq!(alarms.len(), 2);
        assert_eq!(alarms[1].since, Some(UnixMs(1_795_593_600_250)));
        let Reading::Known(fired) = fired(&["all".to_owned(), "checkout".to_owned()], alarms)
        else {
            panic!("both are there")
        };
        assert_eq!(fired.len(), 1);
        assert_eq!(
            fired[0].to_string(),
            "CloudWatch alarm checkout has been in ALARM since 2026-11-25T08:00:00.25Z: \
             Threshold Crossed"
        );
    }

    #[test]
    fn an_alarm_that_does_not_exist_is_no_quiet_one() {
        let alarms = parse(ANSWER).unwrap();
        let Reading::Unknown(unknown) = fired(&["chekout".to_owned()], alarms) else {
            panic!("nobody knows")
        };
        assert!(unknown.detail.contains("no alarm chekout"), "{}", unknown.detail);
    }
}
