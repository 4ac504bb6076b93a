//! Where the functions' binaries are.

use std::path::PathBuf;

use crate::{Error, paths};

/// The binary of the function package `name`, such as `fleet-status`: the one `sam build` made where `FLEET_FUNCTIONS` names
/// its folder, else the newest build of this repository.
///
/// # Errors
/// When there is none, with the command that builds it.
pub fn binary(name: &str) -> Result<PathBuf, Error> {
    let missing =
        |what: String, install: &str| Error::Missing { what, install: install.to_owned() };
    if let Some(folder) = std::env::var_os("FLEET_FUNCTIONS") {
        let file = PathBuf::from(folder).join(logical_id(name)).join("bootstrap");
        let file = file.canonicalize().unwrap_or(file);
        return match file.is_file() {
            true => Ok(file),
            false => Err(missing(file.display().to_string(), "run `sam build`")),
        };
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| paths::repository().join("target"), PathBuf::from);
    ["debug", "release"]
        .map(|profile| target.join(profile).join(name))
        .into_iter()
        .chain([target.join("lambda").join(name).join("bootstrap")])
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file)))
        .max()
        .map(|(_, file)| file)
        .ok_or_else(|| {
            missing(
                format!("the {name} function"),
                &format!("build it with `cargo build -p {name}`"),
            )
        })
}

/// The function's name in `template.yaml`: `fleet-status` is `FleetStatus` there.
fn logical_id(name: &str) -> String {
    let capitalized = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    capitalized.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_package_has_its_name_in_the_template() {
        assert_eq!(super::logical_id("autoscale"), "Autoscale");
        assert_eq!(super::logical_id("fleet-status"), "FleetStatus");
    }
}
