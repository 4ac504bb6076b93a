//! The stable version against what hosts run.

use super::listed;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use crate::show::word;
use fleet_protocol::reading::Reading;
use fleet_protocol::stable::StablePointer;
use serde_json::Value;

const AREA: &str = "versions";

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    vec![stable(facts), hosts(facts)]
}

fn stable(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "stable version", "the parameter …/stable");
    let told = || facts.told("/versions/stable/image_tag").ok().and_then(Value::as_str);
    let text = match &facts.aws.stable {
        Reading::Known(text) => text.as_deref(),
        // The control plane reads the same parameter.
        Reading::Unknown(why) => {
            return match told() {
                Some(tag) => check.ok(format!("{tag}, by the API")),
                None => check.not_checked(&why.detail),
            };
        }
    };
    let Some(text) = text else {
        let finding = "there is none: a new instance starts whatever its image holds";
        return check.warning(finding, "ghfleet deploy TAG");
    };
    match StablePointer::parse(text) {
        Ok(stable) => check.ok(format!("{}", stable.image_tag)),
        Err(wrong) => check.fault(wrong, "ghfleet deploy TAG"),
    }
}

fn hosts(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "hosts", "what hosts proved by their last answers");
    let instances = match facts.told("/instances") {
        Ok(instances) => instances.as_array().map(Vec::as_slice).unwrap_or_default(),
        Err(why) => return check.not_checked(why),
    };
    let in_service = || instances.iter().filter(|it| it["lifecycle"] == "InService");
    let named = |with: &dyn Fn(&Value) -> bool| -> Vec<String> {
        in_service().filter(|it| with(it)).filter_map(|it| word(it, "/instance_id")).collect()
    };
    let drifted = named(&|it| it["drift"] == true);
    if !drifted.is_empty() {
        let tag = facts.told("/versions/stable/image_tag").ok().and_then(Value::as_str);
        let finding = format!("they run another version than the stable one: {}", listed(&drifted));
        return check.warning(finding, format!("ghfleet deploy {}", tag.unwrap_or("TAG")));
    }
    let silent = named(&|it| it["version"].is_null());
    if let Some(first) = silent.first() {
        let finding = format!("they have not proved which version they run: {}", listed(&silent));
        return check.warning(finding, format!("ghfleet machine {first}"));
    }
    check.ok(format!("all {} in service run the stable version", in_service().count()))
}
