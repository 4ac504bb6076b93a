//! Command documents: what may be sent, checked and rendered into a script.
//!
//! Schema 2.2, JSON, one step. A member that is not modelled is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use regex_lite::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;

/// AWS's limits of a step's run time, seconds.
const EXECUTION_SECONDS: std::ops::RangeInclusive<u32> = 5..=172_800;
/// What AWS takes when a step does not say.
const DEFAULT_EXECUTION: u32 = 3600;

/// A document as it was registered.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) parameters: BTreeMap<String, Parameter>,
    /// JSON as it was registered.
    pub(crate) content: String,
    step: DocumentStep,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    schema_version: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    main_steps: Vec<DocumentStep>,
}

/// A parameter as the document declares it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Parameter {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) default: Option<Value>,
    allowed_pattern: Option<String>,
    allowed_values: Option<Vec<Value>>,
    min_chars: Option<usize>,
    max_chars: Option<usize>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    /// Only the console reads it.
    #[serde(rename = "displayType")]
    _display_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Kind {
    String,
    StringList,
    Integer,
    Boolean,
}

impl Kind {
    /// The spelling of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::Integer => "Integer",
            Self::Boolean => "Boolean",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DocumentStep {
    action: String,
    name: String,
    inputs: Inputs,
    /// Hosts here are Linux: only that precondition, which always holds, is taken.
    precondition: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inputs {
    run_command: RunCommand,
    timeout_seconds: Option<Value>,
    working_directory: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum RunCommand {
    Lines(Vec<String>),
    One(String),
}

/// A document with its parameters filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) step: String,
    pub(crate) script: String,
    pub(crate) directory: Option<String>,
    pub(crate) execution: Duration,
    /// Parameters with the defaults of those that were not given.
    pub(crate) parameters: BTreeMap<String, Vec<String>>,
}

fn invalid_content(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidDocumentContent", message)
}

fn invalid_parameters(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameters", message)
}

impl Document {
    /// Reads and checks a document.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, ApiError> {
        let content: Value = serde_json::from_str(text)
            .map_err(|e| invalid_content(format!("The Content is not JSON: {e}")))?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !(3..=128).contains(&name.len()) || !name.chars().all(legal) {
            return Err(ApiError::new(
                "ValidationException",
                format!("Value '{name}' at 'name' must have 3 to 128 characters a-zA-Z0-9_-."),
            ));
        }
        let Content { schema_version, description, parameters, main_steps } =
            Content::deserialize(content).map_err(|e| {
                invalid_content(format!("The double cannot take this document: {e}"))
            })?;
        if schema_version != "2.2" {
            return Err(invalid_content(format!(
                "The double models schemaVersion 2.2, not {schema_version}"
            )));
        }
        let [step] = main_steps.as_slice() else {
            return Err(invalid_content("The double models documents of exactly one step"));
        };
        if !["aws:runShellScript", "aws:runPowerShellScript"].contains(&step.action.as_str()) {
            return Err(invalid_content(format!("The double does not model {}", step.action)));
        }
        let linux = serde_json::json!({ "StringEquals": ["platformType", "Linux"] });
        if step.precondition.as_ref().is_some_and(|p| *p != linux) {
            return Err(invalid_content(format!("The only precondition modelled is {linux}")));
        }
        for (name, parameter) in &parameters {
            parameter.check_declaration(name)?;
        }
        let document = Self {
            name: name.to_owned(),
            description,
            parameters,
            content: text.to_owned(),
            step: step.clone(),
        };
        document.check_references()?;
        Ok(document)
    }

    /// False for a document of another operating system than the hosts'.
    pub(crate) fn is_linux(&self) -> bool {
        self.step.action == "aws:runShellScript"
    }

    /// Checks the parameters of a call and fills the document in.
    pub(crate) fn render(
        &self,
        given: &BTreeMap<String, Vec<String>>,
    ) -> Result<Rendered, ApiError> {
        if let Some(name) = given.keys().find(|name| !self.parameters.contains_key(*name)) {
            return Err(invalid_parameters(format!(
                "Parameter \"{name}\" is not supported by document {}.",
                self.name
            )));
        }
        let mut values = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            let value = match (given.get(name), &parameter.default) {
                (Some(value), _) => {
                    parameter.check(name, value)?;
                    value.clone()
                }
                (None, Some(default)) => texts(default),
                (None, None) => {
                    return Err(invalid_parameters(format!("Parameter \"{name}\" is required.")));
                }
            };
            values.insert(name.clone(), value);
        }
        let inputs = &self.step.inputs;
        let lines = match &inputs.run_command {
            RunCommand::Lines(lines) => lines.clone(),
            RunCommand::One(line) => vec![line.clone()],
        };
        // A line that is nothing but a list parameter becomes as many lines.
        let script: Vec<String> = lines
            .iter()
            .flat_map(|line| match sole_reference(line).and_then(|name| values.get(name)) {
                Some(list) => list.clone(),
                None => vec![fill(line, &values)],
            })
            .collect();
        let directory = inputs.working_directory.as_ref().map(|text| fill(text, &values));
        Ok(Rendered {
            step: self.step.name.clone(),
            script: script.join("\n"),
            directory: directory.filter(|text| !text.is_empty()),
            execution: self.execution(&values)?,
            parameters: values,
        })
    }

    fn execution(&self, values: &BTreeMap<String, Vec<String>>) -> Result<Duration, ApiError> {
        let text = match &self.step.inputs.timeout_seconds {
            None => DEFAULT_EXECUTION.to_string(),
            Some(Value::String(text)) => fill(text, values),
            Some(other) => other.to_string(),
        };
        let seconds: u32 =
            text.parse().ok().filter(|s| EXECUTION_SECONDS.contains(s)).ok_or_else(|| {
                invalid_parameters(format!(
                    "timeoutSeconds of step {} must be 5 to 172800, not '{text}'",
                    self.step.name
                ))
            })?;
        Ok(Duration::from_secs(seconds.into()))
    }

    /// Every `{{ name }}` must be declared: AWS refuses the document otherwise.
    fn check_references(&self) -> Result<(), ApiError> {
        let inputs = &self.step.inputs;
        let lines: Vec<&str> = match &inputs.run_command {
            RunCommand::Lines(lines) => lines.iter().map(String::as_str).collect(),
            RunCommand::One(line) => vec![line],
        };
        let timeout = inputs.timeout_seconds.as_ref().and_then(Value::as_str);
        let texts = lines.into_iter().chain(timeout).chain(inputs.working_directory.as_deref());
        for text in texts {
            for (_, name, _) in references(text) {
                if !self.parameters.contains_key(name) {
                    return Err(invalid_content(format!(
                        "The document refers to {{{{ {name} }}}}, which is not one of its parameters"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl Parameter {
    fn check_declaration(&self, name: &str) -> Result<(), ApiError> {
        if let Some(pattern) = &self.allowed_pattern {
            Regex::new(pattern).map_err(|e| {
                invalid_content(format!("allowedPattern of parameter {name} cannot be read: {e}"))
            })?;
        }
        match &self.default {
            Some(default) => self
                .check(name, &texts(default))
                .map_err(|e| invalid_content(format!("The default does not fit: {}", e.message))),
            None => Ok(()),
        }
    }

    fn check(&self, name: &str, values: &[String]) -> Result<(), ApiError> {
        let refuse = |why: String| Err(invalid_parameters(format!("Parameter \"{name}\" {why}.")));
        if self.kind != Kind::StringList && values.len() != 1 {
            return refuse(format!("takes one value, not {}", values.len()));
        }
        if self.min_items.is_some_and(|n| values.len() < n)
            || self.max_items.is_some_and(|n| values.len() > n)
        {
            return refuse(format!("has {} items, which is out of bounds", values.len()));
        }
        // Unanchored, as the agent matches: a document that means the whole value has to say so.
        let pattern = self.allowed_pattern.as_deref().and_then(|p| Regex::new(p).ok());
        for value in values {
            let fits = match self.kind {
                Kind::String | Kind::StringList => true,
                Kind::Integer => value.parse::<i64>().is_ok(),
                Kind::Boolean => ["true", "false"].contains(&value.as_str()),
            };
            if !fits {
                return refuse(format!("must be of type {}", self.kind.as_str()));
            }
            if pattern.as_ref().is_some_and(|p| !p.is_match(value)) {
                return refuse(format!(
                    "does not match its allowedPattern {}",
                    self.allowed_pattern.as_deref().unwrap_or_default()
                ));
            }
            if self
                .allowed_values
                .as_ref()
                .is_some_and(|v| !v.iter().any(|v| texts(v) == [value.as_str()]))
            {
                return refuse("is not one of its allowedValues".to_owned());
            }
            let length = value.chars().count();
            if self.min_chars.is_some_and(|n| length < n)
                || self.max_chars.is_some_and(|n| length > n)
            {
                return refuse(format!("has {length} characters, which is out of bounds"));
            }
        }
        Ok(())
    }
}

/// A JSON value of a document as the texts a call would give.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        other => vec![other.to_string()],
    }
}

/// Where `{{ name }}` stands in a text: start, name, end.
fn references(text: &str) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("{{").map(|at| from + at) {
        let Some(length) = text[start..].find("}}") else { break };
        let end = start + length + 2;
        found.push((start, text[start + 2..end - 2].trim(), end));
        from = end;
    }
    found
}

fn sole_reference(line: &str) -> Option<&str> {
    match references(line).as_slice() {
        [(0, name, end)] if *end == line.len() => Some(name),
        _ => None,
    }
}

fn fill(text: &str, values: &BTreeMap<String, Vec<String>>) -> String {
    let mut out = String::new();
    let mut from = 0;
    for (start, name, end) in references(text) {
        out.push_str(&text[from..start]);
        out.push_str(&values.get(name).map(|v| v.join("\n")).unwrap_or_default());
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

/// AWS's own document for shell commands.
pub(super) fn run_shell_script() -> Value {
    serde_json::json!({
        "schemaVersion": "2.2",
        "description": "Run a shell script or specify the commands to run.",
        "parameters": {
            "commands": { "type": "StringList", "description": "The commands.", "minItems": 1 },
            "workingDirectory": { "type": "String", "default": "", "maxChars": 4096 },
            "executionTimeout": {
                "type": "String",
                "default": "3600",
                "allowedPattern": "^([1-9][0-9]{0,4}|1[0-6][0-9]{4}|17[0-1][0-9]{3}|172[0-7][0-9]{2}|172800)$",
            },
        },
        "mainSteps": [{
            "action": "aws:runShellScript",
            "name": "aws:runShellScript",
            "inputs": {
                "timeoutSeconds": "{{ executionTimeout }}",
                "workingDirectory": "{{ workingDirectory }}",
                "runCommand": ["{{ commands }}"],
            },
        }],
    })
}
