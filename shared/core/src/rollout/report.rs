//! What one host says when its order ends, and what of it is proof.

use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;
use serde::{Deserialize, Serialize};

/// The form that this version knows.
const FORM: u32 = 1;
const WORDS: usize = 300;
const LINES: usize = 20;

/// The line of JSON that `deploy-server … --fleet` prints. Fields that this version does not need
/// are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    pub v: u32,
    pub instance_id: InstanceId,
    pub action: String,
    pub result: Outcome,
    /// Where it failed.
    #[serde(default)]
    pub step: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    /// The version in service now, as the host sees it after all was done.
    #[serde(default)]
    pub image_tag: Option<String>,
    /// That version's digest, where the image came from a registry.
    #[serde(default)]
    pub digest: Option<String>,
    /// The version that was in service before.
    #[serde(default)]
    pub before: Option<String>,
    /// The last lines of a container that failed.
    #[serde(default)]
    pub log: Vec<String>,
}

/// What became of an order on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Deployed,
    AlreadyCurrent,
    /// It failed, and the previous containers run again.
    RolledBack,
    /// It failed, and the previous containers could not be restored.
    Down,
    /// It failed before anything was touched.
    Failed,
    /// A job runs, and nobody wanted to end it.
    Busy,
    /// Something else is in progress on the host.
    Refused,
    /// The host is on its way out of the group.
    Leaving,
    /// An order other than a deploy is done.
    Done,
    /// The host's server did not answer, or a word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl HostReport {
    /// Finds the report in what a command printed: the first line that is a JSON object.
    ///
    /// # Errors
    /// What was printed instead, shortened.
    pub fn find(output: &str) -> Result<HostReport, String> {
        let line = output.lines().map(str::trim).find(|line| line.starts_with('{'));
        let Some(line) = line else {
            return Err(match output.trim() {
                "" => "it printed nothing".to_owned(),
                text => format!("it printed no report but {:?}", clip(text)),
            });
        };
        let report: HostReport = serde_json::from_str(line)
            .map_err(|error| format!("its report cannot be read ({error}): {:?}", clip(line)))?;
        Ok(HostReport {
            step: report.step.map(|step| clip(&step).to_owned()),
            message: report.message.map(|message| clip(&message).to_owned()),
            log: report
                .log
                .iter()
                .rev()
                .take(LINES)
                .rev()
                .map(|line| clip(line).to_owned())
                .collect(),
            ..report
        })
    }

    /// What keeps the report from being about this order on this host.
    pub fn objection(&self, instance: &InstanceId, action: &str) -> Option<String> {
        if self.v != FORM {
            return Some(format!(
                "its report has form {}, which this version does not know",
                self.v
            ));
        }
        if self.instance_id != *instance {
            return Some(format!("its report is about {}", self.instance_id));
        }
        (self.action != action).then(|| format!("its report is about {:?}", self.action))
    }

    /// Whether it says that `tag` is in service.
    pub fn runs(&self, tag: &ImageTag) -> bool {
        self.image_tag.as_deref() == Some(tag.as_str())
    }
}

fn clip(text: &str) -> &str {
    text.char_indices().nth(WORDS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"v":1,"instanceId":"i-1","action":"deploy","result":"deployed","imageTag":"v2","digest":"sha256:ab","more":[1]}"#;

    #[test]
    fn the_report_is_found_among_other_lines() {
        let output = format!("a shell's word\n{LINE}\n----------ERROR-------\nnoise");
        let report = HostReport::find(&output).unwrap();
        assert_eq!(report.result, Outcome::Deployed);
        assert!(report.runs(&ImageTag::parse("v2").unwrap()));
        assert_eq!(report.objection(&InstanceId::new("i-1"), "deploy"), None);
        assert!(report.objection(&InstanceId::new("i-2"), "deploy").unwrap().contains("i-1"));
        assert!(report.objection(&InstanceId::new("i-1"), "cleanup").unwrap().contains("deploy"));
    }

    #[test]
    fn what_is_no_report_says_what_came() {
        assert_eq!(HostReport::find(" \n"), Err("it printed nothing".to_owned()));
        assert!(HostReport::find("sh: not found").unwrap_err().contains("not found"));
        assert!(HostReport::find("{\"v\":1}").unwrap_err().contains("cannot be read"));
        assert!(HostReport::find(&LINE[..40]).unwrap_err().contains("cannot be read"));
        let later = LINE.replace("deployed", "teleported");
        assert_eq!(HostReport::find(&later).unwrap().result, Outcome::Unknown);
    }
}
