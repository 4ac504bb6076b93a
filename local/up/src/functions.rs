//! Where the functions' binaries are.

use std::path::PathBuf;

use crate::{Error, paths};

/// The binary of the function package `name`, such as `fleet-status`: the one `sam build` made
/// where `FLEET_FUNCTIONS` names its folder, else the newest build of this repository.
///
/// # Errors
/// When there is none, with the command that builds it.
pub fn binary(name: &str) -> Result<PathBuf, Error> {
    let Some(folder) = std::env::var_os("FLEET_FUNCTIONS") else {
        return paths::built(name, name);
    };
    let file = PathBuf::from(folder).join(logical_id(name)).join("bootstrap");
    match file.canonicalize() {
        Ok(file) if file.is_file() => Ok(file),
        Ok(_) | Err(_) => Err(Error::Missing {
            what: file.display().to_string(),
            install: "run `sam build`".to_owned(),
        }),
    }
}

/// The function's name in `template.yaml`: `fleet-status` is `FleetStatus` there.
pub(crate) fn logical_id(name: &str) -> String {
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
