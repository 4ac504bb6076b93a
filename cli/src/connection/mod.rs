//! Which stack is asked, and with which token. A token goes only to the address that it belongs
//! to: that of its profile, or that which was given beside it.

mod address;
mod config;
mod environment;
mod token;

pub use address::Address;
pub use token::Token;

use crate::api::Api;
use crate::finish::Failure;
use clap::Args;
use config::Config;
pub(crate) use environment::variable;
use std::time::Duration;

/// The variable with the address of the API.
const URL: &str = "GHFLEET_URL";

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// The stack to ask, by its name in the configuration file.
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    profile: Option<String>,
    /// The address of its API; the token then comes from the environment.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long one answer may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 40)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

impl ConnectionArgs {
    /// The API that the arguments, the environment and the configuration file name.
    ///
    /// # Errors
    /// What is missing or wrong in them.
    pub fn api(&self) -> Result<Api, Failure> {
        let (address, token) = self.resolve()?;
        Ok(Api::new(address, token, Duration::from_secs(self.timeout)))
    }

    fn resolve(&self) -> Result<(Address, Token), Failure> {
        if let Some(name) = &self.profile {
            return Config::read()?.profile(Some(name))?.connect();
        }
        let given = match &self.url {
            Some(url) => Some(("--url", url.clone())),
            None => variable(URL)?.map(|url| (URL, url)),
        };
        match given {
            Some((from, url)) => {
                let address = Address::parse(from, &url)?;
                let token = Token::from_environment()?;
                Ok((address, token.ok_or_else(|| Token::missing(from))?))
            }
            None => Config::read()?.profile(None)?.connect(),
        }
    }
}
