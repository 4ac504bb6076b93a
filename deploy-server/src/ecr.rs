//! The registry credential: from the instance role, in memory only, renewed before it expires.
//!
//! Settings: `ECR_REGISTRY`, the host name of the registry. A name like
//! `123456789012.dkr.ecr.us-east-1.amazonaws.com` means `ecr:GetAuthorizationToken` in that region;
//! for any other registry `REGISTRY_USERNAME` with `REGISTRY_PASSWORD`, or no credential at all.
//! `ECR_AUTH=aws` asks for a token whatever the name (a registry behind an alias, in the region
//! `AWS_REGION`).

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::aws::{self, Aws};
use crate::clock::now_ms;

/// A token is not handed out in the last half hour of its twelve: a pull may take that long.
const RESERVE_MS: i64 = 30 * 60 * 1000;

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting of this host is wrong.
    #[error("{name}: {problem}")]
    Setting {
        /// The environment variable.
        name: &'static str,
        /// What is wrong and how to write it.
        problem: &'static str,
    },
    /// AWS did not give a token.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// The token is not what ECR documents.
    #[error("the registry token of ECR is unreadable: {0}")]
    Token(&'static str),
}

/// Where images come from and how to be let in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host name and port of the registry; empty for images that are only on this host.
    pub registry: String,
    auth: Auth,
}

#[derive(Debug, Clone)]
enum Auth {
    Nobody,
    Fixed { username: String, password: SecretString },
    Token { aws: Aws, region: String },
}

/// A user name and password the Docker Engine sends to a registry.
#[derive(Debug, Clone)]
pub struct Credential {
    /// `AWS` for ECR.
    pub username: String,
    /// The token.
    pub password: SecretString,
    /// The registry's host name.
    pub server: String,
}

/// Hands out the credential of the configured registry.
#[derive(Debug)]
pub struct Registry {
    settings: Settings,
    token: Mutex<Option<Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    credential: Credential,
    expires_at_ms: i64,
}

impl Settings {
    /// Reads the settings; asks nobody.
    ///
    /// # Errors
    /// [`Error::Setting`] where a value is unusable.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self, Error> {
        let text = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let registry = text("ECR_REGISTRY").unwrap_or_default();
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if !registry.chars().all(is_host) {
            return Err(Error::Setting {
                name: "ECR_REGISTRY",
                problem: "is not a host name: write it as 123456789012.dkr.ecr.us-east-1.amazonaws.com, without https:// and path",
            });
        }
        let auth = match (text("REGISTRY_USERNAME"), text("REGISTRY_PASSWORD")) {
            (Some(username), Some(password)) => Auth::Fixed {
                username: username.to_owned(),
                password: SecretString::from(password),
            },
            (None, None) => match (ecr_region(registry), text("ECR_AUTH")) {
                (Some(region), None | Some("aws")) => Auth::Token {
                    aws: Aws::from_env(env)?,
                    region: region.to_owned(),
                },
                (None, Some("aws")) => Auth::Token {
                    aws: Aws::from_env(env)?,
                    region: text("AWS_REGION")
                        .ok_or(Error::Setting {
                            name: "AWS_REGION",
                            problem: "is needed beside ECR_AUTH=aws where the registry's name does not tell the region",
                        })?
                        .to_owned(),
                },
                (_, Some("none")) | (None, None) => Auth::Nobody,
                (_, Some(_)) => {
                    return Err(Error::Setting {
                        name: "ECR_AUTH",
                        problem: "is neither aws nor none",
                    });
                }
            },
            _ => {
                return Err(Error::Setting {
                    name: "REGISTRY_USERNAME",
                    problem: "and REGISTRY_PASSWORD belong together: set both or neither",
                });
            }
        };
        Ok(Self { registry: registry.to_owned(), auth })
    }
}

/// The region in the name of an ECR registry.
fn ecr_region(registry: &str) -> Option<&str> {
    let (account, rest) = registry.split_once('.')?;
    let rest = rest.strip_prefix("dkr.ecr.").or_else(|| rest.strip_prefix("dkr.ecr-fips."))?;
    let region =
        rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    (is_account && !region.is_empty() && !region.contains('.')).then_some(region)
}

impl Registry {
    /// A registry nobody was asked about yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, token: Mutex::new(None) }
    }

    /// The credential to pull with; `None` for a registry that lets everybody in.
    ///
    /// # Errors
    /// [`Error`] where AWS gives no usable token.
    pub async fn credential(&self) -> Result<Option<Credential>, Error> {
        let server = &self.settings.registry;
        match &self.settings.auth {
            Auth::Nobody => Ok(None),
            Auth::Fixed { username, password } => Ok(Some(Credential {
                username: username.clone(),
                password: password.clone(),
                server: server.clone(),
            })),
            Auth::Token { aws, region } => {
                if let Some(token) = self.slot().clone()
                    && token.expires_at_ms - RESERVE_MS > now_ms()
                {
                    return Ok(Some(token.credential));
                }
                let token = parse_token(&aws.ecr_authorization(region).await?, server)?;
                let credential = token.credential.clone();
                *self.slot() = Some(token);
                Ok(Some(credential))
            }
        }
    }

    /// Drops the token in memory: the registry refused it.
    pub fn forget(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        // A token is replaced in one assignment, so a panic elsewhere cannot have left half of one.
        self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn parse_token(answer: &Value, server: &str) -> Result<Token, Error> {
    let data = answer
        .pointer("/authorizationData/0")
        .ok_or(Error::Token("it has no authorizationData"))?;
    let encoded = data
        .get("authorizationToken")
        .and_then(Value::as_str)
        .ok_or(Error::Token("it has no authorizationToken"))?;
    let decoded = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(Error::Token("it is not base64 text"))?;
    let (username, password) =
        decoded.split_once(':').ok_or(Error::Token("it is not user:password"))?;
    let expires_at = data.get("expiresAt").and_then(Value::as_f64).unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a moment in seconds; out of range saturates, which only asks for a new token earlier or later"
    )]
    let expires_at_ms = (expires_at * 1000.0) as i64;
    Ok(Token {
        credential: Credential {
            username: username.to_owned(),
            password: SecretString::from(password),
            server: server.to_owned(),
        },
        expires_at_ms,
    })
}

impl Credential {
    /// The value of the Docker Engine's `X-Registry-Auth` header: JSON in base64url with padding.
    #[must_use]
    pub fn header(&self) -> SecretString {
        let json = serde_json::json!({
            "username": self.username,
            "password": self.password.expose_secret(),
            "serveraddress": self.server,
        });
        SecretString::from(URL_SAFE.encode(json.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        let env = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::from_env(&env)
    }

    #[test]
    fn the_region_is_read_from_the_registry() {
        for (name, region) in [
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com", Some("us-east-1")),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("12345.dkr.ecr.us-east-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example", None),
            ("123456789012.dkr.ecr.a.b.amazonaws.com", None),
            ("localhost:5000", None),
            ("", None),
        ] {
            assert_eq!(ecr_region(name), region, "{name}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (pairs, name) in [
            (&[("ECR_REGISTRY", "https://x/y")][..], "ECR_REGISTRY"),
            (&[("REGISTRY_PASSWORD", "geheim")], "REGISTRY_USERNAME"),
            (&[("ECR_AUTH", "yes")], "ECR_AUTH"),
            (&[("ECR_AUTH", "aws")], "AWS_REGION"),
        ] {
            let error = settings(pairs).expect_err(name).to_string();
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains("geheim"));
        }
    }

    #[test]
    fn a_token_is_split_at_its_first_colon() {
        let answer = serde_json::json!({"authorizationData": [{
            "authorizationToken": STANDARD.encode("AWS:a:b"), "expiresAt": 1_700_000_000.5
        }]});
        let token = parse_token(&answer, "r").expect("a token");
        assert_eq!(token.credential.username, "AWS");
        assert_eq!(token.credential.password.expose_secret(), "a:b");
        assert_eq!(token.expires_at_ms, 1_700_000_000_500);
        assert!(!format!("{token:?}").contains("a:b"));
    }

    #[test]
    fn rubbish_tokens_are_refused() {
        for answer in [
            serde_json::json!({}),
            serde_json::json!({"authorizationData": []}),
            serde_json::json!({"authorizationData": [{"authorizationToken": 1}]}),
            serde_json::json!({"authorizationData": [{"authorizationToken": "%%%"}]}),
            serde_json::json!({"authorizationData": [{"authorizationToken": STANDARD.encode("nocolon")}]}),
        ] {
            assert!(parse_token(&answer, "r").is_err(), "{answer}");
        }
    }

    #[test]
    fn the_header_is_what_the_engine_decodes() {
        let credential = Credential {
            username: "u".to_owned(),
            // Bytes whose standard base64 would hold + and /.
            password: SecretString::from("~~~???>>>"),
            server: "r:5000".to_owned(),
        };
        let header = credential.header();
        let json = URL_SAFE.decode(header.expose_secret()).expect("base64url");
        let value: Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(value["password"], "~~~???>>>");
        assert_eq!(value["serveraddress"], "r:5000");
    }
}
