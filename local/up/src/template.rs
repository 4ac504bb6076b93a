//! What `template.yaml` says, for a fleet that runs without CloudFormation: the same rules, routes and documents as in AWS.

use std::time::Duration;

use aws_double::{Double, Function, FunctionConfig, Route};
use serde_json::Value;

use crate::functions::{self, logical_id};
use crate::{Error, paths};

/// The template, read. `!Ref X` is the text `X` in it.
#[derive(Debug, Clone)]
pub struct Template(Value);

/// An event that a function is woken by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRule {
    pub source: String,
    pub detail_type: String,
}

impl Template {
    /// Reads the repository's template.
    ///
    /// # Errors
    /// The file cannot be read, or is not YAML.
    pub fn read() -> Result<Self, Error> {
        let file = paths::repository().join("template.yaml");
        let text = std::fs::read_to_string(&file)
            .map_err(Error::io(format_args!("read {}", file.display())))?;
        serde_saphyr::from_str(&text)
            .map(Self)
            .map_err(|error| Error::Failed(format!("{}: {error}", file.display())))
    }

    /// The content of the SSM document that hosts understand.
    pub fn host_document(&self) -> &Value {
        &self.0["Resources"]["HostDocument"]["Properties"]["Content"]
    }

    /// The events that wake the function package `name`.
    pub fn event_rules(&self, name: &str) -> Vec<EventRule> {
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let patterns = self.events(name).map(|event| &event["Properties"]["Pattern"]);
        patterns
            .flat_map(|pattern| {
                let types = texts(&pattern["detail-type"]);
                texts(&pattern["source"]).into_iter().flat_map(move |source| {
                    let rule = move |detail_type| EventRule { source: source.clone(), detail_type };
                    types.clone().into_iter().map(rule)
                })
            })
            .collect()
    }

    /// The HTTP routes of the function package `name`.
    pub fn routes(&self, name: &str) -> Vec<Route> {
        let http = self.events(name).filter(|event| event["Type"] == "HttpApi");
        http.filter_map(|event| {
            let properties = &event["Properties"];
            Some(Route::new(properties["Method"].as_str()?, properties["Path"].as_str()?, name))
        })
        .collect()
    }

    /// Starts the function package `name` with the double's AWS and these settings, and wakes it by the template's events. Its
    /// schedule is the caller's affair.
    ///
    /// # Errors
    /// The function is not built or does not start, or the double refuses a rule.
    pub async fn start(
        &self,
        name: &str,
        double: &Double,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Function, Error> {
        let properties = &self.0["Resources"][logical_id(name)]["Properties"];
        let number = |key: &str| properties[key].as_u64().unwrap_or(1);
        let concurrency = usize::try_from(number("ReservedConcurrentExecutions")).unwrap_or(1);
        let config = FunctionConfig::new(name, functions::binary(name)?)
            .timeout(Duration::from_secs(number("Timeout")))
            .concurrency(concurrency)
            .envs(double.aws_env())
            .envs(settings);
        let function =
            Function::start(config).await.map_err(Error::io(format_args!("start {name}")))?;
        double.add_function(&function);
        for EventRule { source, detail_type } in self.event_rules(name) {
            double
                .on_event(&source, &detail_type, name)
                .map_err(|error| Error::Failed(format!("the rule for {detail_type}: {error}")))?;
        }
        Ok(function)
    }

    fn events(&self, name: &str) -> impl Iterator<Item = &Value> {
        let events = &self.0["Resources"][logical_id(name)]["Properties"]["Events"];
        events.as_object().into_iter().flat_map(|events| events.values())
    }
}

#[cfg(test)]
mod tests {
    use super::{EventRule, Template};

    #[test]
    fn the_template_says_what_wakes_a_function_and_what_a_host_understands() {
        let template = Template::read().expect("it is YAML");
        let rules = template.event_rules("drain");
        let leaving = EventRule {
            source: "aws.autoscaling".to_owned(),
            detail_type: "EC2 Instance-terminate Lifecycle Action".to_owned(),
        };
        assert!(rules.contains(&leaving), "{rules:?}");
        assert_eq!(rules.len(), 5, "{rules:?}");
        assert_eq!(template.event_rules("autoscale"), []);
        assert_eq!(template.routes("autoscale").len(), 1);
        assert_eq!(template.host_document()["schemaVersion"], "2.2");
    }
}
