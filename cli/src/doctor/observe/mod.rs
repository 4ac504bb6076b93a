//! Asks the sources, each by itself: one that is down costs its own facts and nothing else.

mod aws;
mod credentials;
mod database;

use super::NameArgs;
use super::facts::{AwsFacts, Caller, Facts, Names};
use crate::connection::ConnectionArgs;
use crate::finish::Failure;
use crate::status;
use fleet_protocol::time::UnixMs;
use serde_json::Value;

/// # Errors
/// This machine cannot wait for answers.
pub(super) fn observe(args: &NameArgs, connection: &ConnectionArgs) -> Result<Facts, Failure> {
    let api = connection.api().and_then(|api| Ok(status::read(&api)?.body));
    let names = names(args, api.as_ref().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let (aws, database) = runtime.block_on(async {
        let (aws, fields) =
            match credentials::read(args.aws_profile.as_deref(), args.region.as_deref()) {
                Ok(config) => aws::read(&config, &names).await,
                Err(absent) => {
                    let caller = Caller::Absent(absent.why.clone());
                    (AwsFacts::none(absent.region, caller, "there are no AWS credentials"), None)
                }
            };
        let secret = names.fleet_secret.as_deref();
        let database = database::read(args, secret, fields.as_ref()).await;
        (aws, database)
    });
    let now = UnixMs(jiff::Timestamp::now().as_millisecond());
    Ok(Facts { now, names, api, aws, database })
}

/// An argument wins over what the API tells, and that over the default.
fn names(args: &NameArgs, status: Option<&Value>) -> Names {
    let told = |name: &str| status.and_then(|it| it[name].as_str()).map(str::to_owned);
    let environment = args.environment.clone().or_else(|| told("environment"));
    let secret = |given: &Option<String>, end: &str| {
        let default = || Some(format!("ghosthands/{}{end}", environment.as_deref()?));
        given.clone().or_else(default)
    };
    Names {
        group: args.group.clone().or_else(|| told("asgName")),
        fleet_secret: secret(&args.fleet_secret, "/fleet"),
        host_secret: secret(&args.host_secret, ""),
        hook: args.hook.clone(),
        document: args.document.clone(),
        environment,
    }
}
