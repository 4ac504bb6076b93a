//! The operator's own credentials: the environment's, or else what the AWS CLI knows how to get.

use fleet_clients::config::{AwsConfig, Environment, Lookup};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION: &str = "AWS_SESSION_TOKEN";
const REGION: &str = "AWS_REGION";

/// Why there are none.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) region: Option<String>,
    pub(super) why: String,
}

/// # Errors
/// There are none, or they cannot be used.
pub(super) fn read(profile: Option<&str>, region: Option<&str>) -> Result<AwsConfig, Absent> {
    let variable = |name: &str| Environment.get(name).filter(|value| !value.trim().is_empty());
    let ours = Environment.names().into_iter().filter(|name| name.starts_with("AWS_"));
    let mut settings: BTreeMap<String, String> =
        ours.filter_map(|name| Some((name.clone(), variable(&name)?))).collect();
    let region = region.map(str::to_owned).or_else(|| {
        let set = || variable(REGION).or_else(|| variable("AWS_DEFAULT_REGION"));
        if profile.is_none() { set().or_else(|| of_cli(profile)) } else { of_cli(profile) }
    });
    if let Some(region) = &region {
        settings.insert(REGION.to_owned(), region.clone());
    }
    let absent = |why: String| Absent { region: region.clone(), why };
    if profile.is_some() || !settings.contains_key(KEY) {
        let [key, secret, session] = exported(profile).map_err(&absent)?;
        for (name, value) in [(KEY, key), (SECRET, secret), (SESSION, session)] {
            settings.remove(name);
            settings.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    AwsConfig::from_env(&settings).map_err(|error| {
        let problems: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
        absent(problems.join(" "))
    })
}

/// The profile's region, where it has one.
fn of_cli(profile: Option<&str>) -> Option<String> {
    let printed = aws(profile, &["configure", "get", "region"]).ok()?;
    Some(printed.trim().to_owned()).filter(|region| !region.is_empty())
}

/// Key, secret and session token, as the CLI hands them to other programs.
fn exported(profile: Option<&str>) -> Result<[Option<String>; 3], String> {
    let printed = aws(profile, &["configure", "export-credentials", "--format", "process"])?;
    let printed: Value = serde_json::from_str(&printed)
        .map_err(|_| "aws configure export-credentials printed no JSON".to_owned())?;
    let text = |name: &str| printed[name].as_str().map(str::to_owned);
    Ok(["AccessKeyId", "SecretAccessKey", "SessionToken"].map(text))
}

/// What the CLI prints. It is asked nothing that it would have to ask its user.
fn aws(profile: Option<&str>, words: &[&str]) -> Result<String, String> {
    const HELP: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with aws sso \
                        login";
    let mut command = Command::new("aws");
    command.args(words).stdin(Stdio::null());
    if let Some(profile) = profile {
        command.args(["--profile", profile]);
    }
    let output = command.output().map_err(|error| {
        format!("there are no AWS credentials: {KEY} is not set, and aws cannot be run ({error}); {HELP}")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(format!(
            "there are no AWS credentials: aws {}: {said}; {HELP}",
            words.join(" ")
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| "aws printed no UTF-8".to_owned())
}
