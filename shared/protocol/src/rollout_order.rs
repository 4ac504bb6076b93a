//! What a command of ours was sent for, by its comment. So SSM's own list of commands tells the
//! whole rollout, and what is kept beside it may be lost.

use crate::action::Action;
use crate::ids::CommandId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the comment of our commands begins. Commands without it are somebody else's.
const MARK: &str = "ghosthands rollout";
/// The most that SSM takes.
const COMMENT: usize = 100;

/// A command's part in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutOrder {
    pub kind: Kind,
    pub strategy: Strategy,
    pub part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The first command. Its id is the rollout's.
    Root {
        key: Key,
        /// Whose token it was, by the beginning of its hash.
        by: Option<String>,
        why: Option<String>,
    },
    /// A later command of the rollout `of`, by its number among the rollout's commands.
    Later { step: Step, round: u16, of: CommandId },
}

/// What a command of a rollout is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Asks every host what it runs, whether a job runs, and what became of its order.
    #[default]
    Survey,
    /// Orders the version on named hosts. The former version's `sweep` was the same.
    #[serde(alias = "sweep")]
    Apply,
    /// Takes orders back that still wait for a job.
    TakeBack,
    /// Orders the version before on hosts that may have the new one.
    Undo,
}

impl Step {
    /// The words of a comment, which has room for 100 characters.
    const LATER: [(Step, &str); 5] = [
        (Step::Survey, "ask"),
        (Step::Apply, "run"),
        (Step::TakeBack, "back"),
        (Step::Undo, "undo"),
        (Step::Apply, "sweep"),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::LATER.iter().find(|(step, _)| *step == self).map_or("ask", |(_, word)| word)
    }

    fn parse(word: &str) -> Option<Step> {
        Self::LATER.iter().find(|(_, known)| *known == word).map(|(step, _)| *step)
    }
}

/// Twelve hexadecimal digits that stand for an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Takes the beginning of a hash in hexadecimal digits.
    #[must_use]
    pub fn of_hash(hash: &str) -> Key {
        Key(hash.chars().take(12).collect())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RolloutOrder {
    /// The comment of the command, at most 100 characters. A long reason is cut.
    #[must_use]
    pub fn comment(&self) -> String {
        let RolloutOrder { kind, strategy, part } = self;
        let mut comment = format!("{MARK} {} {strategy}", kind.as_str());
        match part {
            Part::Root { key, by, why } => {
                comment.push_str(&format!(" key={}", key.as_str()));
                if let Some(by) = by {
                    comment.push_str(&format!(" by={by}"));
                }
                if let Some(why) = why {
                    comment.push_str(" why=");
                    let room = COMMENT - comment.chars().count();
                    comment.extend(
                        why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(room),
                    );
                }
            }
            Part::Later { step, round, of } => {
                comment.push_str(&format!(" {}={round} of={of}", step.as_str()));
            }
        }
        comment
    }

    /// Reads a comment; `None` where the command is not one of these. A word that a later version
    /// added is passed over.
    #[must_use]
    pub fn read(comment: &str) -> Option<RolloutOrder> {
        let words = comment.strip_prefix(MARK)?.strip_prefix(' ')?;
        let (words, why) = match words.split_once(" why=") {
            Some((words, why)) => (words, Some(why.to_owned())),
            None => (words, None),
        };
        let mut words = words.split(' ');
        let kind = Kind::parse(words.next()?)?;
        let strategy = Strategy::parse(words.next()?).ok()?;
        let (mut key, mut by, mut later, mut of) = (None, None, None, None);
        for word in words {
            let Some((name, value)) = word.split_once('=') else { continue };
            match (name, value) {
                ("key", value) => key = Some(Key(value.to_owned())),
                ("by", value) => by = Some(value.to_owned()),
                ("of", id) => of = Some(CommandId::new(id)),
                (name, round) => {
                    if let Some(step) = Step::parse(name) {
                        later = Some((step, round.parse().ok()?));
                    }
                }
            }
        }
        let part = match (key, later, of) {
            (Some(key), None, None) => Part::Root { key, by, why },
            (None, Some((step, round)), Some(of)) => Part::Later { step, round, of },
            _ => return None,
        };
        Some(RolloutOrder { kind, strategy, part })
    }

    /// The key of a rollout's first command.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match &self.part {
            Part::Root { key, .. } => Some(key),
            Part::Later { .. } => None,
        }
    }

    /// What it is for. The first command of a rollout only asks; that of another deployment is all
    /// there is of it.
    #[must_use]
    pub fn step(&self) -> Step {
        match self.part {
            Part::Root { .. } if self.kind.is_rollout() => Step::Survey,
            Part::Root { .. } => Step::Apply,
            Part::Later { step, .. } => step,
        }
    }

    /// The `Action` of the hosts' document.
    #[must_use]
    pub fn action(&self) -> Action {
        match self.step() {
            Step::Survey => Action::Status,
            Step::TakeBack => Action::TakeBack,
            Step::Apply | Step::Undo => self.kind.action(),
        }
    }
}

/// The kind of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Brings a version to every host.
    Deploy,
    /// The same, with an earlier version.
    Rollback,
    Cleanup,
    RefreshSecrets,
    /// Named hosts take no more work, until somebody lets them.
    Drain,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Deploy, Kind::Rollback, Kind::Cleanup, Kind::RefreshSecrets, Kind::Drain];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Rollback => Action::Rollback.as_str(),
            other => other.action().as_str(),
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The `Action` of the hosts' document. A rollback names its version like any deploy: what each
    /// host had before may differ.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Kind::Deploy | Kind::Rollback => Action::Deploy,
            Kind::Cleanup => Action::Cleanup,
            Kind::RefreshSecrets => Action::RefreshSecrets,
            Kind::Drain => Action::Drain,
        }
    }

    /// It changes which version is in service, so there is one at a time and it has to be proven.
    #[must_use]
    pub fn is_rollout(self) -> bool {
        matches!(self, Kind::Deploy | Kind::Rollback)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names that operators know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    #[default]
    Canary,
    OneAtATime,
    HalfAtATime,
    AllAtOnce,
}

impl Strategy {
    pub const ALL: [Strategy; 4] =
        [Strategy::Canary, Strategy::OneAtATime, Strategy::HalfAtATime, Strategy::AllAtOnce];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Canary => "canary",
            Strategy::OneAtATime => "one-at-a-time",
            Strategy::HalfAtATime => "half-at-a-time",
            Strategy::AllAtOnce => "all-at-once",
        }
    }

    /// Reads the name.
    ///
    /// # Errors
    /// The names there are.
    pub fn parse(text: &str) -> Result<Strategy, String> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.map(Strategy::as_str).into();
            format!("{text:?} is no strategy: use {}", names.join(", "))
        })
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_comes_back_from_its_comment_and_fits() {
        let of = CommandId::new("12345678-1234-1234-1234-123456789012");
        let key = Key::of_hash(&"abcdef0123456789".repeat(4));
        for kind in Kind::ALL {
            for strategy in Strategy::ALL {
                let by = Some("1a2b3c4d".to_owned());
                let root = Part::Root { key: key.clone(), by, why: Some("fix".to_owned()) };
                let later = [Step::Survey, Step::Apply, Step::TakeBack, Step::Undo]
                    .map(|step| Part::Later { step, round: 65_535, of: of.clone() });
                let parts = [root, Part::Root { key: key.clone(), by: None, why: None }]
                    .into_iter()
                    .chain(later);
                for part in parts {
                    let order = RolloutOrder { kind, strategy, part };
                    let comment = order.comment();
                    assert!(comment.len() <= COMMENT, "{comment}");
                    assert_eq!(RolloutOrder::read(&comment), Some(order));
                }
            }
        }
    }

    #[test]
    fn a_long_reason_is_cut_and_cannot_pretend_to_be_more() {
        let why = "hotfix of=someone-else key=1 why=".repeat(9);
        let part =
            Part::Root { key: Key::of_hash("abcdef012345"), by: None, why: Some(why.clone()) };
        let comment =
            RolloutOrder { kind: Kind::Deploy, strategy: Strategy::Canary, part }.comment();
        assert_eq!(comment.chars().count(), COMMENT);
        let read = RolloutOrder::read(&comment).expect("ours");
        let Part::Root { key, why: Some(cut), .. } = read.part else { panic!("a root") };
        assert_eq!(key.as_str(), "abcdef012345");
        assert!(why.starts_with(&cut));
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let comment = "ghosthands rollout deploy canary key=abcdef012345 after=x quietly why=fix";
        let read = RolloutOrder::read(comment).expect("ours");
        let key = Key::of_hash("abcdef012345");
        assert_eq!(read.part, Part::Root { key, by: None, why: Some("fix".to_owned()) });
    }

    #[test]
    fn somebody_elses_comments_are_passed_over() {
        for comment in [
            "",
            "ghosthands leave w=240",
            "ghosthands rollout",
            "ghosthands rollout deploy canary",
            "ghosthands rolloutdeploy",
        ] {
            assert_eq!(RolloutOrder::read(comment), None, "{comment:?}");
        }
    }

    #[test]
    fn names_go_both_ways() {
        for strategy in Strategy::ALL {
            assert_eq!(Strategy::parse(strategy.as_str()), Ok(strategy));
            let json = serde_json::to_string(&strategy).unwrap();
            assert_eq!(json, format!("\"{strategy}\""));
        }
        assert!(Strategy::parse("yolo").unwrap_err().contains("one-at-a-time"));
    }
}
