//! Arguments into a command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt as _};

use crate::secrets::PullArgs;

pub const USAGE: &str = "\
deploy-server: owns the GhostHands containers of this host

Usage: deploy-server <command> [options]

  serve                       run the server (systemd does this)
  status                      what runs here, and how it is
  deploy TAG                  put a version into service      [--force] [--no-wait]
  rollback                    go back to the version before   [--force] [--no-wait]
  bootstrap                   the first deploy of a new host: the fleet's stable version, tried until it runs
                              [--tag TAG | --environment NAME] [--timeout SECONDS]
  drain                       stop taking work, wait for the job  [--timeout SECONDS] [--terminating [--stop]]
  resume                      take work again
  cleanup                     free disk space                 [--dry-run]
  refresh-secrets             read Secrets Manager again
  take-back                   give up an order of a rollout that waits for a job
  clean-files                 the part of a cleanup that deletes other people's files (the server or systemd starts it)
  boot-check                  before Docker starts: no container of another machine starts with it  [--docker-root DIR] [--timeout SECONDS]
  pull-secrets                write the environment file      [--environment NAME] [--file PATH] [--set NAME=VALUE]… [--timeout SECONDS]

  --json                      one line of JSON instead of text
  --fleet                     as a rollout orders it: tried again after 10, 20 and 30 s, one short line of JSON that proves what
                              is in service, and exit code 0 where a busy or leaving host only puts it off
  --help, --version

Commands wait for the work to end. Stopping one of them does not stop the work.
Exit codes: 0 done, 1 failed, 10 rolled back, 11 down, 12 refused, 13 nothing touched, 64 usage,
69 no answer or unknown, 75 still busy.
";

#[derive(Debug, Clone)]
pub enum Command {
    Serve,
    Status,
    Deploy {
        tag: String,
        force: bool,
        wait: bool,
    },
    Bootstrap(BootstrapArgs),
    Rollback {
        force: bool,
        wait: bool,
    },
    Drain {
        within: Option<f64>,
        terminating: bool,
        stop: bool,
    },
    Resume,
    Cleanup {
        dry_run: bool,
    },
    RefreshSecrets,
    /// What `deploy` becomes where a rollout orders it.
    Order {
        id: String,
        tag: String,
        force: bool,
        /// How long it waits for the running job, in seconds; `None` is the server's own limit.
        job_limit_s: Option<u32>,
    },
    TakeBack,
    PullSecrets(PullArgs),
    CleanFiles,
    BootCheck {
        docker_root: PathBuf,
        patience: Duration,
    },
}

/// The first deploy of a new host.
#[derive(Debug, Clone)]
pub struct BootstrapArgs {
    /// `None`: the version that the fleet has proven.
    pub tag: Option<String>,
    /// What the tag means, where the stable pointer says it.
    pub digest: Option<String>,
    pub environment: Option<String>,
    /// How long it is tried again.
    pub patience: Option<Duration>,
}

#[derive(Debug, Clone)]
pub struct Parsed {
    pub command: Command,
    pub json: bool,
    /// It is an order of a rollout.
    pub fleet: bool,
}

/// What to do instead of a command.
#[derive(Debug)]
pub enum Instead {
    Help,
    Version,
    Wrong(String),
}

impl From<lexopt::Error> for Instead {
    fn from(error: lexopt::Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// A request for help, or what is wrong and where.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Instead> {
    let mut given = Given::read(Parser::from_args(arguments))?;
    let json = given.flag("json");
    let command = match given.command.take().as_deref() {
        None => return Err(Instead::Wrong("a command is missing".to_owned())),
        Some("serve") => Command::Serve,
        Some("status") => Command::Status,
        Some("deploy") => Command::Deploy {
            tag: given.operand("TAG")?,
            force: given.flag("force"),
            wait: !given.flag("no-wait"),
        },
        Some("bootstrap") => {
            let tag = given.values.remove("tag");
            // A tag needs no environment to look it up in.
            let environment = tag.is_none().then(|| given.values.remove("environment")).flatten();
            let seconds = given.seconds("timeout")?;
            let patience = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            Command::Bootstrap(BootstrapArgs { tag, environment, patience, digest: None })
        }
        Some("rollback") => {
            Command::Rollback { force: given.flag("force"), wait: !given.flag("no-wait") }
        }
        Some("drain") => Command::Drain {
            within: given.seconds("timeout")?,
            terminating: given.flag("terminating"),
            stop: given.flag("stop"),
        },
        Some("resume") => Command::Resume,
        Some("cleanup") => Command::Cleanup { dry_run: given.flag("dry-run") },
        Some("refresh-secrets") => Command::RefreshSecrets,
        Some("clean-files") => Command::CleanFiles,
        Some("boot-check") => Command::BootCheck {
            docker_root: given.path("docker-root", "/var/lib/docker"),
            patience: given.patience()?,
        },
        Some("take-back") => Command::TakeBack,
        Some("pull-secrets") => Command::PullSecrets(PullArgs {
            environment: given.values.remove("environment"),
            file: given.path("file", "/opt/ghosthands/.env"),
            instance: std::mem::take(&mut given.settings),
            patience: given.patience()?,
        }),
        Some(other) => return Err(Instead::Wrong(format!("there is no command {other:?}"))),
    };
    let orders = matches!(
        command,
        Command::Status
            | Command::Deploy { .. }
            | Command::Rollback { .. }
            | Command::Drain { terminating: false, .. }
            | Command::Cleanup { .. }
            | Command::RefreshSecrets
            | Command::TakeBack
    );
    let fleet = orders && given.flag("fleet");
    given.nothing_left()?;
    Ok(Parsed { command, json, fleet })
}

/// Everything on the command line, before it is known what the command makes of it.
#[derive(Default)]
struct Given {
    command: Option<String>,
    operands: Vec<String>,
    flags: Vec<String>,
    values: BTreeMap<String, String>,
    settings: BTreeMap<String, String>,
}

impl Given {
    fn read(mut parser: Parser) -> Result<Self, Instead> {
        let mut given = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("help") | Arg::Short('h') => return Err(Instead::Help),
                Arg::Long("version") | Arg::Short('V') => return Err(Instead::Version),
                Arg::Long("set") => {
                    let pair = parser.value()?.string()?;
                    let (name, value) = pair
                        .split_once('=')
                        .ok_or_else(|| Instead::Wrong("--set needs NAME=VALUE".to_owned()))?;
                    given.settings.insert(name.to_owned(), value.to_owned());
                }
                Arg::Long(name @ ("tag" | "timeout" | "environment" | "file" | "docker-root")) => {
                    let name = name.to_owned();
                    let value = parser.value()?.string()?;
                    // An empty value is what an unset variable of a calling script becomes: it
                    // means nothing.
                    if value.is_empty() {
                        return Err(Instead::Wrong(format!("--{name} has an empty value")));
                    }
                    given.values.insert(name, value);
                }
                Arg::Long(name) => given.flags.push(name.to_owned()),
                Arg::Short(letter) => {
                    return Err(Instead::Wrong(format!("there is no option -{letter}")));
                }
                Arg::Value(value) if given.command.is_none() => {
                    given.command = Some(value.string()?);
                }
                Arg::Value(value) => given.operands.push(value.string()?),
            }
        }
        Ok(given)
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|flag| flag != name);
        self.flags.len() < before
    }

    fn operand(&mut self, name: &str) -> Result<String, Instead> {
        let operand = self.operands.pop().filter(|operand| !operand.is_empty());
        operand.ok_or_else(|| Instead::Wrong(format!("{name} is missing")))
    }

    fn path(&mut self, name: &str, otherwise: &str) -> PathBuf {
        PathBuf::from(self.values.remove(name).unwrap_or_else(|| otherwise.to_owned()))
    }

    /// How long a failure is tried again; not at all where nobody says.
    fn patience(&mut self) -> Result<Duration, Instead> {
        let seconds = self.seconds("timeout")?.unwrap_or(0.0);
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    fn seconds(&mut self, name: &str) -> Result<Option<f64>, Instead> {
        let Some(text) = self.values.remove(name) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(Some(seconds)),
            _ => Err(Instead::Wrong(format!("--{name} {text:?} is not a number of seconds"))),
        }
    }

    fn nothing_left(&self) -> Result<(), Instead> {
        let options = self.flags.iter().chain(self.values.keys());
        let option = options.map(|name| format!("the option --{name}")).next();
        let setting = (!self.settings.is_empty()).then(|| "the option --set".to_owned());
        let operand = self.operands.first().map(|operand| format!("the argument {operand:?}"));
        match option.or(setting).or(operand) {
            Some(what) => Err(Instead::Wrong(format!("{what} means nothing here"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BootstrapArgs, Command, Instead, parse};

    fn read(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace().map(Into::into);
        parse(words).map(|parsed| parsed.command).map_err(|instead| match instead {
            Instead::Wrong(text) => text,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn commands() {
        assert!(matches!(
            read("deploy v1 --force --json"),
            Ok(Command::Deploy { tag, force: true, wait: true }) if tag == "v1"
        ));
        assert!(matches!(
            read("drain --timeout 240 --terminating"),
            Ok(Command::Drain { within: Some(_), terminating: true, stop: false })
        ));
        assert!(matches!(read("status"), Ok(Command::Status)));
        assert!(matches!(read("deploy v1 --fleet"), Ok(Command::Deploy { .. })));
        assert!(matches!(
            read("bootstrap"),
            Ok(Command::Bootstrap(BootstrapArgs { tag: None, environment: None, .. }))
        ));
        assert!(matches!(
            read("bootstrap --environment staging"),
            Ok(Command::Bootstrap(BootstrapArgs { tag: None, environment: Some(name), .. }))
                if name == "staging"
        ));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let lines = [
            "",
            "dploy",
            "deploy",
            "deploy v1 v2",
            "status --force",
            "drain --timeout soon",
            "serve --fleet",
            "drain --terminating --fleet",
            "bootstrap --tag v1 --environment staging",
            "bootstrap --tag=",
            "cleanup --set A=b",
            "-x",
        ];
        let said: Vec<String> = lines.iter().map(|line| read(line).unwrap_err()).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        a command is missing
        there is no command "dploy"
        TAG is missing
        the argument "v1" means nothing here
        the option --force means nothing here
        --timeout "soon" is not a number of seconds
        the option --fleet means nothing here
        the option --fleet means nothing here
        the option --environment means nothing here
        --tag has an empty value
        the option --set means nothing here
        there is no option -x
        "#);
    }
}
