//! `ghfleet completions` and `ghfleet man`: what a shell and `man` know of the commands.

use crate::finish::{Failure, Finished};
use clap::{Args, Command, ValueEnum};
use clap_complete::aot::{Bash, Fish, Zsh, generate};
use clap_mangen::Man;
use std::path::PathBuf;

const NAME: &str = "ghfleet";

/// Print what lets a shell complete commands and options.
///
/// Examples:
///   ghfleet completions bash > ~/.local/share/bash-completion/completions/ghfleet
///   ghfleet completions zsh > ~/.zfunc/_ghfleet
///   ghfleet completions fish > ~/.config/fish/completions/ghfleet.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Print the manual page, or write one for each command into a folder.
///
/// Examples:
///   ghfleet man | man -l -
///   ghfleet man --dir ~/.local/share/man/man1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ManArgs {
    /// The folder to write into; it has to exist.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl CompletionsArgs {
    /// For this command line.
    ///
    /// # Errors
    /// What was made is no text.
    pub fn run(&self, mut of: Command) -> Result<Finished, Failure> {
        let mut made = Vec::new();
        match self.shell {
            Shell::Bash => generate(Bash, &mut of, NAME, &mut made),
            Shell::Zsh => generate(Zsh, &mut of, NAME, &mut made),
            Shell::Fish => generate(Fish, &mut of, NAME, &mut made),
        }
        text(made)
    }
}

impl ManArgs {
    /// For this command line.
    ///
    /// # Errors
    /// A page cannot be written.
    pub fn run(&self, of: Command) -> Result<Finished, Failure> {
        let Some(folder) = &self.dir else {
            let mut made = Vec::new();
            let rendered = Man::new(of).render(&mut made);
            rendered.map_err(|error| Failure::failed(error.to_string()))?;
            return text(made);
        };
        clap_mangen::generate_to(of, folder).map_err(|error| {
            let folder = folder.display();
            Failure::usage(format!("--dir {folder} cannot be written ({error}): name a folder"))
        })?;
        Ok(Finished::done(format!("written: {}/{NAME}*.1\n", folder.display())))
    }
}

fn text(made: Vec<u8>) -> Result<Finished, Failure> {
    let text = String::from_utf8(made).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(Finished::done(text))
}
