//! What of a host's report is about the order that it was given.

use fleet_protocol::action::Action;
use fleet_protocol::action_report::{ActionReport, FORM};
use fleet_protocol::ids::InstanceId;

/// What keeps the report from being about this order on this host.
pub(super) fn objection(
    report: &ActionReport,
    instance: &InstanceId,
    action: Action,
) -> Option<String> {
    if report.v != FORM {
        let form = report.v;
        return Some(format!("its report has form {form}, which this version does not know"));
    }
    if report.instance_id != *instance {
        return Some(format!("its report is about {}", report.instance_id));
    }
    let about = report.action;
    (about != action).then(|| format!("its report is about \"{about}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_about_something_else_is_objected_to() {
        let line = r#"{"v":1,"instanceId":"i-1","action":"deploy","result":"deployed"}"#;
        let report = ActionReport::find(line).expect("a report");
        let said = |instance: &str, action| objection(&report, &InstanceId::new(instance), action);
        assert_eq!(said("i-1", Action::Deploy), None);
        assert!(said("i-2", Action::Deploy).expect("another host").contains("i-1"));
        assert!(said("i-1", Action::Cleanup).expect("another order").contains("deploy"));
        let later = ActionReport { v: 2, ..report };
        assert!(objection(&later, &InstanceId::new("i-1"), Action::Deploy).is_some());
    }
}
