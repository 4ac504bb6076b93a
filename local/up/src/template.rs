//! What `template.yaml` says, for a fleet that runs without CloudFormation: the same rules, routes
//! and documents as in AWS.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_double::{Authorizer, Double, Function, FunctionConfig, Route};
use serde_json::Value;

use crate::functions::{self, logical_id};
use crate::{Error, paths};

/// How many invocations a new account may have at a time.
const NEW_ACCOUNT: usize = 10;
/// The seconds that Lambda gives a function which says nothing of its own.
const LAMBDAS_TIMEOUT: u64 = 3;

/// The template, read. `!Ref X` is the text `X` in it.
#[derive(Debug, Clone)]
pub struct Template {
    root: Value,
    /// What its parameters are, as far as event rules refer to them.
    parameters: BTreeMap<String, String>,
}

impl Template {
    /// Reads the repository's template, for a stack whose group has this name.
    ///
    /// # Errors
    /// The file cannot be read, or is not YAML.
    pub fn read(group: &str) -> Result<Self, Error> {
        let file = paths::repository().join("template.yaml");
        let text = std::fs::read_to_string(&file)
            .map_err(Error::io(format_args!("read {}", file.display())))?;
        let root: Value = serde_saphyr::from_str(&text)
            .map_err(|error| Error::Failed(format!("{}: {error}", file.display())))?;
        let declared = root["Parameters"].as_object().into_iter().flatten();
        let mut parameters: BTreeMap<String, String> = declared
            .filter_map(|(name, parameter)| {
                Some((name.clone(), parameter["Default"].as_str()?.to_owned()))
            })
            .collect();
        parameters.insert("GroupName".to_owned(), group.to_owned());
        Ok(Self { root, parameters })
    }

    /// The content of the SSM document that hosts understand, as JSON.
    #[must_use]
    pub fn host_document(&self) -> String {
        self.document("HostDocument")
    }

    /// The content of the document that asks hosts what they run, as JSON.
    #[must_use]
    pub fn survey_document(&self) -> String {
        self.document("SurveyDocument")
    }

    fn document(&self, name: &str) -> String {
        self.root["Resources"][name]["Properties"]["Content"].to_string()
    }

    /// What the deploy function gets when every host is to be asked what it runs.
    ///
    /// # Errors
    /// The template has no such schedule.
    pub fn survey(&self) -> Result<Value, Error> {
        let input = &self.root["Resources"]["Deploy"]["Properties"]["Events"]["Survey"];
        let input = input["Properties"]["Input"].as_str().unwrap_or_default();
        serde_json::from_str(input)
            .map_err(|error| Error::Failed(format!("the input of the surveys' schedule: {error}")))
    }

    /// The patterns of the events that wake the function package `name`.
    #[must_use]
    pub fn event_patterns(&self, name: &str) -> Vec<Value> {
        let patterns = self.events(name).map(|event| &event["Properties"]["Pattern"]);
        patterns.filter(|pattern| !pattern.is_null()).map(|pattern| self.resolve(pattern)).collect()
    }

    fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.parameters.get(text).unwrap_or(text).clone().into(),
            Value::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.resolve(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// The HTTP routes of the function `name`, without the API's authorizer: what the function
    /// itself says to everybody.
    #[must_use]
    pub fn routes(&self, name: &str) -> Vec<Route> {
        self.http_events(name).filter_map(|event| route(event, name)).collect()
    }

    /// The HTTP routes of the function `name`, behind the API's authorizer where it has one.
    #[must_use]
    pub fn routes_behind_authorizer(&self, name: &str) -> Vec<Route> {
        let auth = &self.root["Resources"]["Api"]["Properties"]["Auth"];
        let authorizer = auth["DefaultAuthorizer"].as_str().and_then(|default| {
            let authorizer = &auth["Authorizers"][default];
            // `!GetAtt Authorize.Arn` is the text `Authorize.Arn` here.
            let function = authorizer["FunctionArn"].as_str()?.strip_suffix(".Arn")?;
            let ttl = authorizer["Identity"]["ReauthorizeEvery"].as_u64()?;
            let ttl_seconds = u32::try_from(ttl).ok()?;
            Some(Authorizer { function: function.to_lowercase(), ttl_seconds })
        });
        let events = self.http_events(name);
        let routes = events.filter_map(|event| {
            let route = route(event, name)?;
            let is_open = event["Properties"]["Auth"]["Authorizer"] == "NONE";
            Some(match &authorizer {
                Some(authorizer) if !is_open => route.behind(authorizer.clone()),
                _ => route,
            })
        });
        routes.collect()
    }

    /// Starts the function `name` with the double's AWS and these settings, and wakes it by
    /// the template's events. Its schedule is the caller's affair.
    ///
    /// # Errors
    /// The function is not built or does not start, or the double refuses a rule.
    pub async fn start(
        &self,
        name: &str,
        double: &Double,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Function, Error> {
        let properties = &self.root["Resources"][logical_id(name)]["Properties"];
        let number = |key: &str| number_of(&properties[key]);
        let places = number("ReservedConcurrentExecutions");
        let concurrency = places.and_then(|it| usize::try_from(it).ok()).unwrap_or(NEW_ACCOUNT);
        // Two functions may share a package.
        let package =
            properties["CodeUri"].as_str().and_then(|folder| folder.split('/').next_back());
        let config = FunctionConfig::new(name, functions::binary(package.unwrap_or(name))?)
            .timeout(Duration::from_secs(number("Timeout").unwrap_or(LAMBDAS_TIMEOUT)))
            .concurrency(concurrency)
            .envs(double.aws_env())
            .envs(settings);
        let function =
            Function::start(config).await.map_err(Error::io(format_args!("start {name}")))?;
        double.add_function(&function);
        for pattern in self.event_patterns(name) {
            double
                .rule(&pattern, name)
                .map_err(|error| Error::Failed(format!("the rule {pattern}: {error}")))?;
        }
        Ok(function)
    }

    fn http_events(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.events(name).filter(|event| event["Type"] == "HttpApi")
    }

    fn events(&self, name: &str) -> impl Iterator<Item = &Value> {
        let events = &self.root["Resources"][logical_id(name)]["Properties"]["Events"];
        events.as_object().into_iter().flat_map(|events| events.values())
    }
}

fn route(event: &Value, function: &str) -> Option<Route> {
    let properties = &event["Properties"];
    Some(Route::new(properties["Method"].as_str()?, properties["Path"].as_str()?, function))
}

/// A number with the template's defaults, by which the conditions on numbers hold: of nested
/// `!If`s the first one.
fn number_of(value: &Value) -> Option<u64> {
    match value {
        Value::Array(items) => items.iter().find_map(number_of),
        other => other.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, number_of};
    use serde_json::json;

    #[test]
    fn the_template_says_what_wakes_a_function_and_what_a_host_understands() {
        let template = Template::read("a-group").expect("it is YAML");
        let leaving = json!({
            "source": ["aws.autoscaling"],
            "detail-type": ["EC2 Instance-terminate Lifecycle Action"],
            "detail": { "AutoScalingGroupName": ["a-group"] },
        });
        let patterns = template.event_patterns("drain");
        assert!(patterns.contains(&leaving), "{patterns:?}");
        assert!(
            patterns.iter().any(|p| p["detail"]["document-name"] == json!(["GhostHands-Host"]))
        );
        assert_eq!(template.event_patterns("autoscale"), [json!(null); 0]);
        assert_eq!(template.routes("autoscale").len(), 1);
        let is_open = |route: &aws_double::Route| route.authorizer.is_none();
        let routes = template.routes_behind_authorizer("fleet-status");
        let open: Vec<_> = routes.iter().filter(|route| is_open(route)).collect();
        let mut open: Vec<_> = open.iter().map(|route| route.path.as_str()).collect();
        open.sort_unstable();
        assert_eq!(open, ["/", "/healthz"], "everything else shows what is nobody's business");
        assert!(template.routes("fleet-status").iter().all(is_open));
        assert!(template.host_document().contains("aws:runShellScript"));
    }

    #[test]
    fn a_function_has_the_places_and_the_time_of_the_templates_defaults() {
        let template = Template::read("a-group").expect("it is YAML");
        let of =
            |name: &str, key: &str| number_of(&template.root["Resources"][name]["Properties"][key]);
        assert_eq!(of("Autoscale", "ReservedConcurrentExecutions"), Some(3));
        assert_eq!(of("Autoscale", "Timeout"), Some(75));
        assert_eq!(of("FleetStatus", "ReservedConcurrentExecutions"), Some(2));
    }
}
