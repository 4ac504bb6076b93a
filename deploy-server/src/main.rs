//! The binary: one executable for the server and for the local commands that talk to it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;

use deploy_server::cleanup::clean_files;
use deploy_server::cli::{self, Command, Instead};
use deploy_server::serve::serve;
use fleet_protocol::exit_code::ExitCode as Code;

fn main() -> ExitCode {
    let parsed = match cli::parse(std::env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(instead) => return say_instead(&instead),
    };
    // Names and values that are not text cannot be passed to anything of ours.
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start: {error}"), Code::Failed.code()),
    };
    match parsed.command {
        Command::Serve => {}
        Command::CleanFiles => {
            return match runtime.block_on(clean_files(&env)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => complain(&error.to_string(), error.exit_code().code()),
            };
        }
        _ => return ExitCode::from(runtime.block_on(cli::run(parsed, &env))),
    }
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(io::stderr).init();
    match runtime.block_on(serve(env)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(
            &error.to_string(),
            if error.is_configuration() { Code::Usage.code() } else { Code::Failed.code() },
        ),
    }
}

fn say_instead(instead: &Instead) -> ExitCode {
    match instead {
        Instead::Help => say(cli::USAGE),
        Instead::Version => say(concat!("deploy-server ", env!("CARGO_PKG_VERSION"), "\n")),
        Instead::Wrong(text) => {
            complain(&format!("{text}\nSee deploy-server --help"), Code::Usage.code())
        }
    }
}

fn say(text: &str) -> ExitCode {
    // A closed pipe leaves nobody to tell.
    drop(io::stdout().lock().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn complain(text: &str, code: u8) -> ExitCode {
    drop(writeln!(io::stderr().lock(), "deploy-server: {text}"));
    ExitCode::from(code)
}
