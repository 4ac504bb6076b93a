//! The environment file, read by those who will read it: systemd and compose.
//!
//! A thousand values made of what each of them treats specially are written to one file, and every
//! one must come back byte for byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use deploy_server::secrets::dotenv;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use secrecy::{ExposeSecret as _, SecretString};

use crate::support::program;
use crate::support::systemd::Systemd;

fn values() -> BTreeMap<String, SecretString> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let special = proptest::string::string_regex(
        "([\\\\\"'`$#;%&(){}= \t\na-c]|\\$\\{?[A-C]\\}?|\\\\n|é|✓|𝄞|\u{feff}|\u{2028})*",
    )
    .expect("a pattern");
    let any = proptest::string::string_regex("[^\\p{Cc}]{0,40}").expect("a pattern");
    let strategy = proptest::prop_oneof![special, any];
    let mut values: Vec<String> =
        (0..1000).map(|_| strategy.new_tree(&mut runner).expect("a value").current()).collect();
    values.extend(
        [
            "",
            " ",
            "\\",
            "\\\\",
            "\"",
            "'",
            "$",
            "$$",
            "${HOME}",
            "$HOME",
            "\n",
            "a\nb\n",
            "\\n",
            "\\$",
            "\\\"",
            "#x",
            " x ",
            "`id`",
            "$(id)",
            "=",
            "trailing\\",
            "{\"json\": [1, \"x\\\\y\"]}",
        ]
        .map(str::to_owned),
    );
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| (format!("K{index}"), SecretString::from(value)))
        .collect()
}

fn compare(
    reader: &str,
    written: &BTreeMap<String, SecretString>,
    read: &BTreeMap<String, String>,
) {
    for (name, value) in written {
        let value = value.expose_secret();
        assert_eq!(
            read.get(name).map(String::as_str),
            Some(value),
            "{reader} reads {name} differently"
        );
    }
}

#[test]
fn compose_reads_back_the_same_bytes() {
    let given = std::env::var("DOCKER_COMPOSE").unwrap_or_default();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/docker-compose");
    let installed = [
        given.as_str(),
        tools.to_str().expect("UTF-8"),
        "/usr/libexec/docker/cli-plugins/docker-compose",
        "/usr/lib/docker/cli-plugins/docker-compose",
    ];
    let Some(compose) = program(&installed) else {
        eprintln!("skipped: no compose of version 2; scripts/fetch-compose.sh fetches one");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let written = values();
    let text = dotenv::render("test", &written).expect("writable");
    std::fs::write(folder.path().join("env"), text.expose_secret()).expect("a file");
    std::fs::write(
        folder.path().join("compose.yaml"),
        "services: {s: {image: x, env_file: [env]}}\n",
    )
    .expect("a file");
    let output = Command::new(compose)
        .args(["--project-name", "p", "config", "--format", "json"])
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .output()
        .expect("compose");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let environment = config["services"]["s"]["environment"].as_object().expect("an environment");
    let read = environment
        .iter()
        // Its own output can be read again, so it doubles every dollar sign.
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").replace("$$", "$")))
        .collect();
    compare("compose", &written, &read);
}

#[test]
fn systemd_reads_back_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let written = values();
    let text = dotenv::render("test", &written).expect("writable");
    std::fs::write(at("env"), text.expose_secret()).expect("a file");
    let unit = format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nEnvironmentFile={}\nExecStart=/usr/bin/env -0\n\
         StandardOutput=file:{}\nExecStartPost=/bin/touch {}\n",
        at("env").display(),
        at("out").display(),
        at("done").display()
    );
    let Some(systemd) = Systemd::start(&[("readers.service", &unit)], &[]) else { return };
    systemd.wait_for_file(&at("done"));
    let out = std::fs::read(at("out")).expect("what env printed");
    let read = String::from_utf8(out)
        .expect("UTF-8")
        .split_terminator('\0')
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    compare("systemd", &written, &read);
}
