//! The database, by the fleet's own address, with the statement of a tick and no lock.

use crate::connection::variable;
use crate::doctor::NameArgs;
use crate::doctor::facts::{DatabaseFacts, ProbeFailure, not_asked};
use fleet_clients::config::DATABASE_URL_KEY;
use fleet_clients::postgres::{Database, DatabaseUrl, Trust};
use fleet_clients::queue::{DATABASE_CA_KEY, Names, QueueSource, QueueView, REGISTRY};
use fleet_clients::secrets::SecretFields;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

const URL: &str = "GHFLEET_DATABASE_URL";
const CA: &str = "GHFLEET_DATABASE_CA";
/// AUTOSCALE_BOOT_SECONDS by default.
const LOOK_AHEAD_S: u32 = 95;
const LIMIT: Duration = Duration::from_secs(8);

pub(super) async fn read(
    args: &NameArgs,
    secret: Option<&str>,
    fields: Option<&SecretFields>,
) -> DatabaseFacts {
    let secret = secret.unwrap_or("of the fleet");
    let own = variable(URL).ok().flatten().map(SecretString::from);
    let from = match own {
        Some(_) => format!("the address in {URL}"),
        None => format!("DATABASE_URL of the secret {secret}"),
    };
    let stored = || fields.and_then(|fields| fields.get(DATABASE_URL_KEY).ok().cloned());
    let Some(url) = own.or_else(stored) else {
        let why = format!("no address is known: {from} could not be read; set {URL}");
        return failed(from, false, Unknown { cause: UnknownCause::NotAsked, detail: why });
    };
    let stored = fields.and_then(|fields| fields.get(DATABASE_CA_KEY).ok());
    let ca = match variable(CA).ok().flatten().map(SecretString::from) {
        Some(given) => Some(given),
        None => stored.cloned(),
    };
    let database = match database(&url, ca.as_ref()) {
        Ok(database) => database,
        Err(why) => return failed(from, true, unusable(why)),
    };
    if let Err(error) = database.connect().await {
        let answered = error.is_answer();
        return failed(from, answered, error.into_unknown(&database));
    }
    DatabaseFacts { from, probe: Ok(()), view: view(database, args).await }
}

fn failed(from: String, answered: bool, why: Unknown) -> DatabaseFacts {
    let view = not_asked(&why.detail);
    DatabaseFacts { from, probe: Err(ProbeFailure { answered, why }), view }
}

fn unusable(detail: String) -> Unknown {
    Unknown { cause: UnknownCause::Unreadable, detail }
}

fn database(url: &SecretString, ca: Option<&SecretString>) -> Result<Database, String> {
    let url = DatabaseUrl::parse(url).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("the address cannot be used: {}", problems.join("; "))
    })?;
    let trust = Trust::load(ca.map(ExposeSecret::expose_secret), &url)
        .map_err(|problem| format!("the certificates cannot be used: {problem}"))?;
    Ok(Database::new(url, trust))
}

async fn view(database: Database, args: &NameArgs) -> Reading<QueueView> {
    let names = match Names::new(&args.schema, &args.queue, REGISTRY) {
        Ok(names) => names,
        Err(problem) => return Reading::Unknown(unusable(problem.to_string())),
    };
    let mut source = QueueSource::new(database, names);
    source.view(LOOK_AHEAD_S, LIMIT).await.map_or_else(Reading::Unknown, Reading::Known)
}
