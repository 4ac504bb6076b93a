//! The version that a new host boots to: what the fleet has proven, by the pointer in SSM's
//! Parameter Store.

use std::time::{Duration, Instant};

use fleet_protocol::exit_code::ExitCode;
use fleet_protocol::stable::{self, StablePointer};

use crate::aws::{Aws, Error};
use crate::config::Strings;
use crate::secrets::document;

/// A host that just booted may not have its role's credentials or its network yet.
const WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(2);

/// Reads `/ghosthands/{environment}/stable`. The environment is what is given, else
/// `GH_ENVIRONMENT`, else the instance's tag.
///
/// # Errors
/// The exit code and what to do about it.
pub(super) async fn pointer(
    given: Option<&str>,
    env: &Strings,
) -> Result<StablePointer, (ExitCode, String)> {
    let usage = |error: String| (ExitCode::Usage, error);
    let aws = Aws::from_env(env).map_err(|error| usage(error.to_string()))?;
    let given = given.or_else(|| env.get("GH_ENVIRONMENT").map(String::as_str));
    let environment = document::environment(given, &aws).await;
    let environment = environment.map_err(|error| usage(format!("{error}; or give --tag TAG")))?;
    let name = stable::parameter(&environment);
    let began = Instant::now();
    let found = loop {
        match aws.parameter(&name).await {
            Ok(found) => break found,
            Err(error @ Error::Setting { .. }) => return Err(usage(error.to_string())),
            Err(error) if began.elapsed() >= WITHIN => {
                return Err((
                    ExitCode::Unavailable,
                    format!("the stable version cannot be read: {error}"),
                ));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    let Some(text) = found else {
        let fix =
            format!("no version was ever proven: there is no parameter {name}; give --tag TAG");
        return Err(usage(fix));
    };
    StablePointer::parse(&text).map_err(|wrong| {
        usage(format!("the parameter {name} cannot be used: {wrong}; give --tag TAG"))
    })
}
