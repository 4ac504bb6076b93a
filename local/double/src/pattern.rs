//! Event patterns of EventBridge rules: which events a rule lets through.
//!
//! Exact values, `prefix`, `suffix`, `equals-ignore-case`, `anything-but` and `exists`; another
//! operator is refused.

use serde_json::{Map, Value};

/// A pattern that cannot be read: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event pattern, {at}: {reason}")]
pub struct PatternError {
    at: String,
    reason: &'static str,
}

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Member>);

/// A path into the event and what may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    path: Vec<String>,
    tests: Vec<Test>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Is(Value),
    Prefix(String),
    Suffix(String),
    IgnoreCase(String),
    AnythingBut(Vec<Test>),
    Exists(bool),
}

impl Pattern {
    /// Reads the JSON of a rule's `EventPattern`.
    pub(crate) fn read(pattern: &Value) -> Result<Self, PatternError> {
        let mut members = Vec::new();
        collect(pattern, &mut Vec::new(), &mut members)?;
        Ok(Self(members))
    }

    /// True when every member of the pattern is met.
    pub(crate) fn matches(&self, event: &Value) -> bool {
        self.0.iter().all(|member| {
            let found = member.path.iter().try_fold(event, |at, key| at.get(key));
            member.tests.iter().any(|test| test.holds(found))
        })
    }
}

fn refuse(path: &[String], reason: &'static str) -> PatternError {
    let at = if path.is_empty() { "the top".to_owned() } else { path.join(".") };
    PatternError { at, reason }
}

fn collect(
    pattern: &Value,
    path: &mut Vec<String>,
    into: &mut Vec<Member>,
) -> Result<(), PatternError> {
    match pattern {
        Value::Object(members) if !members.is_empty() => {
            for (key, inner) in members {
                path.push(key.clone());
                if key.starts_with('$') {
                    return Err(refuse(path, "the double does not model this operator"));
                }
                collect(inner, path, into)?;
                path.pop();
            }
            Ok(())
        }
        Value::Array(tests) if !tests.is_empty() && !path.is_empty() => {
            let tests = tests.iter().map(|t| Test::read(t, path)).collect::<Result<_, _>>()?;
            into.push(Member { path: path.clone(), tests });
            Ok(())
        }
        _ => Err(refuse(path, "needs an object, or a list of values that is not empty")),
    }
}

impl Test {
    fn read(test: &Value, path: &[String]) -> Result<Self, PatternError> {
        let Value::Object(operator) = test else {
            return match test {
                Value::Array(_) => Err(refuse(path, "a list in a list is no value")),
                value => Ok(Self::Is(value.clone())),
            };
        };
        let (name, argument) = sole(operator)
            .ok_or_else(|| refuse(path, "an operator is an object with exactly one member"))?;
        match (name, argument) {
            ("prefix", Value::String(text)) => Ok(Self::Prefix(text.clone())),
            ("suffix", Value::String(text)) => Ok(Self::Suffix(text.clone())),
            ("equals-ignore-case", Value::String(text)) => Ok(Self::IgnoreCase(text.clone())),
            ("exists", Value::Bool(exists)) => Ok(Self::Exists(*exists)),
            ("anything-but", Value::Array(values)) => {
                let inner = values.iter().map(|v| Self::read(v, path)).collect::<Result<_, _>>()?;
                Ok(Self::AnythingBut(inner))
            }
            ("anything-but", value) => Ok(Self::AnythingBut(vec![Self::read(value, path)?])),
            _ => Err(refuse(path, "the double does not model this operator or its argument")),
        }
    }

    /// A list in the event is met when one of its elements is.
    fn holds(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Self::Exists(exists), found) => *exists == found.is_some(),
            (_, None) => false,
            (_, Some(Value::Array(items))) => items.iter().any(|item| self.fits(item)),
            (_, Some(value)) => self.fits(value),
        }
    }

    fn fits(&self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Is(wanted) => wanted == value,
            Self::Prefix(prefix) => text.is_some_and(|t| t.starts_with(prefix.as_str())),
            Self::Suffix(suffix) => text.is_some_and(|t| t.ends_with(suffix.as_str())),
            Self::IgnoreCase(wanted) => {
                text.is_some_and(|t| t.to_lowercase() == wanted.to_lowercase())
            }
            Self::AnythingBut(tests) => !tests.iter().any(|test| test.fits(value)),
            Self::Exists(exists) => *exists,
        }
    }
}

fn sole(operator: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut members = operator.iter();
    let (name, argument) = members.next()?;
    members.next().is_none().then_some((name.as_str(), argument))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Pattern;

    fn matches(pattern: &Value) -> bool {
        let event = json!({
            "source": "aws.ssm",
            "detail-type": "EC2 Command Invocation Status-change Notification",
            "resources": ["arn:a", "arn:b"],
            "detail": { "document-name": "GhostHands-Host", "status": "Success", "n": 3 },
        });
        Pattern::read(pattern).expect("a legal pattern").matches(&event)
    }

    #[test]
    fn every_member_has_to_be_met_by_one_of_its_values() {
        assert!(matches(&json!({ "source": ["aws.ec2", "aws.ssm"] })));
        assert!(!matches(&json!({ "source": ["aws.ec2"] })));
        assert!(!matches(&json!({ "source": ["aws.ssm"], "detail": { "status": ["Failed"] } })));
        assert!(matches(&json!({ "resources": ["arn:b"], "detail": { "n": [3] } })));
        assert!(!matches(&json!({ "detail": { "n": ["3"] } })), "a number is not a text");
        assert!(!matches(&json!({ "detail": { "absent": ["x"] } })));
    }

    #[test]
    fn operators_mean_what_eventbridge_says() {
        let status = |test: Value| matches(&json!({ "detail": { "status": [test] } }));
        assert!(status(json!({ "prefix": "Succ" })) && !status(json!({ "prefix": "ucc" })));
        assert!(status(json!({ "suffix": "ess" })) && !status(json!({ "suffix": "es" })));
        assert!(status(json!({ "equals-ignore-case": "SUCCESS" })));
        assert!(status(json!({ "anything-but": ["Pending", "InProgress"] })));
        assert!(!status(json!({ "anything-but": "Success" })));
        assert!(!status(json!({ "anything-but": { "prefix": "S" } })));
        assert!(status(json!({ "exists": true })) && !status(json!({ "exists": false })));
        assert!(matches(&json!({ "detail": { "absent": [{ "exists": false }] } })));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_path() {
        for (bad, at) in [
            (json!({}), "the top"),
            (json!("x"), "the top"),
            (json!({ "source": "aws.ssm" }), "source"),
            (json!({ "detail": { "status": [] } }), "detail.status"),
            (json!({ "detail": { "status": [{ "wildcard": "*" }] } }), "detail.status"),
            (json!({ "detail": { "n": [{ "numeric": [">", 1] }] } }), "detail.n"),
            (json!({ "$or": [{ "source": ["a"] }] }), "$or"),
        ] {
            let error = Pattern::read(&bad).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("event pattern, {at}: ")), "{error}");
        }
    }
}
