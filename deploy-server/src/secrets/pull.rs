//! `pull-secrets`: the environment file of this host, from Secrets Manager.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::document::{self, Stage, Variables};
use super::{Error, SOURCE, compare, dotenv, file, host_settings};
use crate::aws::{Aws, Identity};

/// Set on the host, never in the secret. `EC2_` is a prefix.
const INSTANCE: [&str; 3] = ["GH_WORKER_ID", "GH_ENVIRONMENT", "EC2_"];
/// What the worker cannot start without; the old script warned of the same three.
const EXPECTED: [&str; 3] = ["DATABASE_URL", "GH_SERVICE_SECRET", "NODE_ENV"];

const BETWEEN_TRIES: Duration = Duration::from_secs(2);

const HEADING: &str = "Written by deploy-server pull-secrets; read by systemd and docker compose.\n\
    Lines for this host alone may be added: those not listed in SECRETS_MANAGER_KEYS are kept.";

/// What to pull, and where to.
#[derive(Debug, Clone)]
pub struct PullArgs {
    /// The environment; else `GH_ENVIRONMENT` of the process or of the old file, else the
    /// instance's tag.
    pub environment: Option<String>,
    /// The file, absolute.
    pub file: PathBuf,
    /// Variables of this instance to set beside the secret; over those the instance metadata gives.
    pub instance: BTreeMap<String, String>,
    /// How long an AWS that does not answer is asked again: at boot, credentials and network come
    /// late.
    pub patience: Duration,
}

/// What a pull did, by name only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PullReport {
    /// The file.
    pub file: PathBuf,
    /// The environment whose secret it holds.
    pub environment: String,
    /// How many variables it holds.
    pub written: usize,
    /// Variables with a new value.
    pub changed: Vec<String>,
    /// Variables that were not there.
    pub added: Vec<String>,
    /// Variables that are gone.
    pub removed: Vec<String>,
    /// Variables of this host alone.
    pub kept: Vec<String>,
    /// Variables a worker needs and the file does not hold.
    pub missing: Vec<String>,
    /// Variables whose value ends in a backslash: docker compose before 2.20 reads nothing of a
    /// file that has one.
    pub ending_in_backslash: Vec<String>,
}

/// Writes the environment file: the secret's variables under those of this host.
///
/// # Errors
/// [`Error`]; the file is then as it was, except that one of another machine, from a machine image,
/// says who this is.
pub async fn pull(args: PullArgs, env: &BTreeMap<String, String>) -> Result<PullReport, Error> {
    let failed = |source| Error::File { path: args.file.display().to_string(), source };
    let old = file::read(&args.file)
        .map_err(failed)?
        .map(|text| dotenv::parse(text.expose_secret()))
        .unwrap_or_default();
    let aws = Aws::from_env(env)?;
    // Where there is no metadata service, the file goes on saying who this is.
    let identity = aws.imds().identity().await.ok();
    let given = args
        .environment
        .as_deref()
        .or_else(|| env.get("GH_ENVIRONMENT").map(String::as_str))
        .or_else(|| old.get("GH_ENVIRONMENT").map(|name| name.expose_secret()));
    let (environment, secret) = match fetch(given, &aws, args.patience).await {
        Ok(fetched) => fetched,
        Err(error) => {
            // Without the secret the host works with this file, and must not do so as another
            // machine.
            if let Some(identity) = identity.filter(|identity| is_of_another(&old, identity)) {
                let mut mended = old;
                identify(&mut mended, &identity);
                file::replace(&args.file, &dotenv::render(HEADING, &mended)?).map_err(failed)?;
            }
            return Err(error);
        }
    };

    let mut own = own_variables(&old);
    if let Some(identity) = &identity {
        identify(&mut own, identity);
    }
    // What /etc/default/ghosthands says of the host is the host's own, whatever the secret has.
    own.extend(
        env.iter()
            .filter(|(name, _)| host_settings::is_shared(name) && secret.contains_key(*name))
            .map(|(name, value)| (name.clone(), SecretString::from(value.as_str()))),
    );
    own.insert("GH_ENVIRONMENT".to_owned(), SecretString::from(environment.as_str()));
    own.extend(
        args.instance
            .iter()
            .map(|(name, value)| (name.clone(), SecretString::from(value.as_str()))),
    );
    let new = combine(&secret, &own);
    file::replace(&args.file, &dotenv::render(HEADING, &new)?).map_err(failed)?;

    let mut before = old;
    before.remove(SOURCE);
    let mut after = new;
    after.remove(SOURCE);
    let difference = compare(&before, &after, &Variables::new());
    Ok(PullReport {
        file: args.file,
        environment,
        written: after.len(),
        changed: difference.changed,
        added: difference.added,
        removed: difference.removed,
        kept: own.into_keys().collect(),
        missing: EXPECTED
            .into_iter()
            .filter(|name| !after.contains_key(*name))
            .map(str::to_owned)
            .collect(),
        ending_in_backslash: after
            .iter()
            .filter(|(_, value)| value.expose_secret().ends_with('\\'))
            .map(|(name, _)| name.clone())
            .collect(),
    })
}

/// The environment and its secret. Silence and faults of AWS are waited out, refusals are not.
async fn fetch(
    given: Option<&str>,
    aws: &Aws,
    patience: Duration,
) -> Result<(String, Variables), Error> {
    let environment = document::environment(given, aws).await?;
    let began = Instant::now();
    loop {
        match document::fetch(aws, &document::id(&environment), Stage::Current).await {
            Err(Error::Aws(error)) if error.may_pass() && began.elapsed() < patience => {
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            fetched => return fetched.map(|secret| (environment, secret.unwrap_or_default())),
        }
    }
}

/// The variables of an old file that are this host's. A file without [`SOURCE`] was written by the
/// old script, where only the instance's variables were not from the secret.
fn own_variables(old: &Variables) -> Variables {
    let copied: Option<BTreeSet<&str>> =
        old.get(SOURCE).map(|names| names.expose_secret().split(',').collect());
    let is_instance = |name: &str| {
        INSTANCE.iter().any(|key| name == *key || (key.ends_with('_') && name.starts_with(key)))
    };
    old.iter()
        .filter(|(name, _)| name.as_str() != SOURCE)
        .filter(|(name, _)| match &copied {
            Some(copied) => !copied.contains(name.as_str()),
            None => is_instance(name),
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn is_of_another(file: &Variables, identity: &Identity) -> bool {
    file.get("EC2_INSTANCE_ID").is_some_and(|id| id.expose_secret() != identity.instance_id)
}

/// Says who this instance is. The file may come from the machine image, written on another
/// instance: then that one's worker id must not be used here too.
fn identify(own: &mut Variables, identity: &Identity) {
    let same =
        own.get("EC2_INSTANCE_ID").is_some_and(|id| id.expose_secret() == identity.instance_id);
    let mut set = |name: &str, value: &str| own.insert(name.to_owned(), SecretString::from(value));
    if !same {
        set("GH_WORKER_ID", &identity.instance_id);
    }
    set("EC2_INSTANCE_ID", &identity.instance_id);
    match &identity.public_ipv4 {
        Some(address) => {
            set("EC2_IP", address);
        }
        None => {
            own.remove("EC2_IP");
        }
    }
}

/// The file's variables: `own` over `secret`, and the list of those that came from the secret.
fn combine(secret: &Variables, own: &Variables) -> Variables {
    let copied: Vec<&str> = secret
        .keys()
        .filter(|name| !own.contains_key(*name) && name.as_str() != SOURCE)
        .map(String::as_str)
        .collect();
    let mut all = secret.clone();
    all.extend(own.clone());
    all.insert(SOURCE.to_owned(), SecretString::from(copied.join(",")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(variables: &Variables) -> Vec<&str> {
        variables.keys().map(String::as_str).collect()
    }

    #[test]
    fn an_old_file_keeps_the_instance_variables_only() {
        let old = dotenv::parse(
            "GH_API_KEY=a\nGH_WORKER_ID=i-1\nEC2_IP=1.2.3.4\nEC2_INSTANCE_ID=i-1\nGH_ENVIRONMENT=staging\n",
        );
        let own = own_variables(&old);
        assert_eq!(names(&own), ["EC2_INSTANCE_ID", "EC2_IP", "GH_ENVIRONMENT", "GH_WORKER_ID"]);
    }

    #[test]
    fn a_new_file_keeps_everything_that_is_not_from_the_secret() {
        let old = dotenv::parse("A=1\nB=2\nMINE=x\nSECRETS_MANAGER_KEYS=\"A,B\"\n");
        assert_eq!(names(&own_variables(&old)), ["MINE"]);
    }

    #[test]
    fn a_machine_image_s_identity_is_not_taken_over() {
        let here = Identity {
            instance_id: "i-2".to_owned(),
            public_ipv4: Some("5.6.7.8".to_owned()),
            environment: None,
        };
        let baked = "GH_WORKER_ID=i-1\nEC2_INSTANCE_ID=i-1\nEC2_IP=1.2.3.4\nMINE=x\n";
        let mut own = dotenv::parse(baked);
        identify(&mut own, &here);
        let text =
            |own: &Variables, name: &str| own.get(name).map(|v| v.expose_secret().to_owned());
        assert_eq!(text(&own, "GH_WORKER_ID").as_deref(), Some("i-2"));
        assert_eq!(text(&own, "EC2_IP").as_deref(), Some("5.6.7.8"));
        assert_eq!(text(&own, "MINE").as_deref(), Some("x"));

        own.insert("GH_WORKER_ID".to_owned(), "chosen".into());
        identify(&mut own, &Identity { public_ipv4: None, ..here });
        assert_eq!(text(&own, "GH_WORKER_ID").as_deref(), Some("chosen"), "the same instance");
        assert_eq!(text(&own, "EC2_IP"), None, "it no longer has that address");
    }

    #[test]
    fn the_host_wins_and_only_copied_names_are_listed() {
        let secret = dotenv::parse("A=1\nGH_WORKER_ID=shared\n");
        let all = combine(&secret, &dotenv::parse("GH_WORKER_ID=i-1\n"));
        assert_eq!(all["GH_WORKER_ID"].expose_secret(), "i-1");
        assert_eq!(all[SOURCE].expose_secret(), "A");
    }
}
