//! The version that a new host boots to: what the fleet has proven, by the pointer in SSM's
//! Parameter Store.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{EXIT_UNAVAILABLE, EXIT_USAGE};
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
pub(super) async fn image_tag(given: Option<&str>, env: &Strings) -> Result<String, (u8, String)> {
    let usage = |error: String| (EXIT_USAGE, error);
    let aws = Aws::from_env(env).map_err(|error| usage(error.to_string()))?;
    let given = given.or_else(|| env.get("GH_ENVIRONMENT").map(String::as_str));
    let environment = document::environment(given, &aws).await;
    let environment = environment.map_err(|error| usage(format!("{error}; or give --tag TAG")))?;
    let name = format!("/ghosthands/{environment}/stable");
    let began = Instant::now();
    let found = loop {
        match aws.parameter(&name).await {
            Ok(found) => break found,
            Err(error @ Error::Setting { .. }) => return Err(usage(error.to_string())),
            Err(error) if began.elapsed() >= WITHIN => {
                return Err((
                    EXIT_UNAVAILABLE,
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
    let tag = serde_json::from_str::<Value>(&text).ok();
    let tag = tag.and_then(|pointer| pointer["image_tag"].as_str().map(str::to_owned));
    tag.ok_or_else(|| usage(format!("the parameter {name} names no image_tag; give --tag TAG")))
}
