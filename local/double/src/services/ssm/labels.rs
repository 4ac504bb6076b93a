//! Labels of parameter versions: names that move from version to version.

use serde_json::{Value, json};

use super::parameters::{Parameters, version_not_found};
use super::{invalid, not_found};
use crate::error::ApiError;

/// Most labels of one version, and most in one call.
const MOST: usize = 10;

/// AWS's rules: not at the start a digit, `aws` or `ssm`; letters, digits, `.`, `-` and `_`.
fn is_legal(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    !label.starts_with(|c: char| c.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
        && label.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn check(labels: &[String]) -> Result<(), ApiError> {
    let lengths_fit = labels.iter().all(|label| (1..=100).contains(&label.len()));
    if labels.is_empty() || labels.len() > MOST || !lengths_fit {
        return Err(invalid(
            "1 validation error detected: Value at 'labels' failed to satisfy constraint: 1 to 10 labels of 1 to 100 characters",
        ));
    }
    Ok(())
}

impl Parameters {
    /// `LabelParameterVersion`: all of the legal labels or none, taken away from the version that
    /// had them.
    pub(super) fn label(
        &mut self,
        name: &str,
        version: Option<u64>,
        labels: &[String],
    ) -> Result<Value, ApiError> {
        check(labels)?;
        let versions = self.versions_mut(name).ok_or_else(|| not_found(name))?;
        let number = version.or_else(|| versions.last().map(|v| v.number)).unwrap_or_default();
        let (legal, bad): (Vec<&String>, Vec<&String>) = labels.iter().partition(|l| is_legal(l));
        let found = versions
            .iter()
            .find(|v| v.number == number)
            .ok_or_else(|| version_not_found(name, &number.to_string()))?;
        let mut carried = found.labels.clone();
        carried.extend(legal.iter().map(|label| (*label).clone()));
        if carried.len() > MOST {
            return Err(ApiError::new(
                "ParameterVersionLabelLimitExceeded",
                "A parameter version can have maximum 10 labels. Move one or more labels to another version and try again.",
            ));
        }
        for v in versions {
            if v.number == number {
                v.labels.clone_from(&carried);
            } else {
                v.labels.retain(|label| !legal.contains(&label));
            }
        }
        Ok(json!({ "InvalidLabels": bad, "ParameterVersion": number }))
    }

    /// `UnlabelParameterVersion`
    pub(super) fn unlabel(
        &mut self,
        name: &str,
        version: Option<u64>,
        labels: &[String],
    ) -> Result<Value, ApiError> {
        check(labels)?;
        let number = version.ok_or_else(|| invalid("ParameterVersion is required"))?;
        let versions = self.versions_mut(name).ok_or_else(|| not_found(name))?;
        let found = versions
            .iter_mut()
            .find(|v| v.number == number)
            .ok_or_else(|| version_not_found(name, &number.to_string()))?;
        let (removed, bad): (Vec<&String>, Vec<&String>) =
            labels.iter().partition(|label| found.labels.contains(*label));
        found.labels.retain(|label| !removed.contains(&label));
        Ok(json!({ "RemovedLabels": removed, "InvalidLabels": bad }))
    }
}
