//! `boot-check`: before the Docker Engine starts, containers of another machine lose their restart
//! policy, so that it does not start them.
//!
//! A machine image made of a machine that worked has that machine's containers in it. The engine
//! starts them at boot, long before this server can look at them, and such a worker takes jobs
//! under the other machine's name. The engine offers no way to hold containers back, but it reads
//! their restart policies from its folder at its start: `containers/ID/hostconfig.json`, which has
//! had this form since Docker 1.10.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_protocol::exit_code::ExitCode;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::config::Strings;
use crate::deploy::foreign;

const PAUSE: Duration = Duration::from_secs(1);

/// Takes the restart policy from every container below `docker_root` that says it is another
/// machine's. The engine must not run. `patience`: how long the instance metadata is asked again.
///
/// A machine without instance metadata has no identity to compare with, and nothing is done; the
/// server looks again when it starts.
pub(super) async fn keep_others_down(
    docker_root: &Path,
    patience: Duration,
    env: &Strings,
) -> (ExitCode, Value) {
    let failed =
        |message: String| (ExitCode::Unavailable, json!({ "success": false, "message": message }));
    let imds = match Aws::from_env(env) {
        Ok(aws) => aws.imds().clone(),
        Err(error) => return failed(error.to_string()),
    };
    if !imds.is_enabled() {
        let message = "No instance metadata, so no container can be told to be another machine's";
        return (ExitCode::Done, json!({ "success": true, "message": message }));
    }
    let began = Instant::now();
    let instance = loop {
        match imds.identity().await {
            Ok(identity) => break identity.instance_id,
            Err(error) if began.elapsed() >= patience => {
                return failed(format!("whose containers these are is not known: {error}"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    match look_at_all(&docker_root.join("containers"), &instance) {
        Ok((held_back, unread)) => {
            let message = match (held_back.as_slice(), unread.as_slice()) {
                ([], []) => "No container of another machine is here".to_owned(),
                (held, []) => {
                    format!("Of another machine, and will not start: {}", held.join(", "))
                }
                (_, unread) => format!("cannot be read or written: {}", unread.join("; ")),
            };
            let code = if unread.is_empty() { ExitCode::Done } else { ExitCode::Failed };
            (
                code,
                json!({ "success": unread.is_empty(), "message": message, "heldBack": held_back }),
            )
        }
        Err(error) => failed(format!("{}: {error}", docker_root.display())),
    }
}

/// The containers that were held back, and those whose files could not be read or written. One of
/// the latter keeps none of the others from being looked at.
fn look_at_all(containers: &Path, instance: &str) -> io::Result<(Vec<String>, Vec<String>)> {
    let (mut held_back, mut unread) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(containers) {
        // Docker was never started here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((held_back, unread)),
        entries => entries?,
    };
    for entry in entries {
        let folder = entry?.path();
        match look_at(&folder, instance) {
            Ok(Some(name)) => held_back.push(name),
            Ok(None) => {}
            Err(error) => unread.push(format!("{}: {error}", folder.display())),
        }
    }
    Ok((held_back, unread))
}

/// The name of the container in this folder, if it is another machine's and would have started.
fn look_at(folder: &Path, instance: &str) -> io::Result<Option<String>> {
    let config = read(&folder.join("config.v2.json"))?;
    let variables = config["Config"]["Env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let variables: Vec<&str> = variables.iter().filter_map(Value::as_str).collect();
    let variable = |name: &str| {
        variables
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(known, value)| (known == name).then_some(value))
    };
    if !foreign::is_of_another(variable, instance) {
        return Ok(None);
    }
    let path = folder.join("hostconfig.json");
    let mut host = read(&path)?;
    if matches!(host["RestartPolicy"]["Name"].as_str(), Some("no" | "") | None) {
        return Ok(None);
    }
    host["RestartPolicy"]["Name"] = json!("no");
    write(&path, &host)?;
    let name = config["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    Ok(Some(name.to_owned()))
}

fn read(path: &Path) -> io::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// In one step, and durably: a torn file would cost the container.
fn write(path: &Path, value: &Value) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_data()?;
    fs::rename(&fresh, path)
}
