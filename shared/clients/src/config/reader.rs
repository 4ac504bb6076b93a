//! Reads settings one by one and collects every problem, so that a person fixes them all in one go.

use super::lookup::Lookup;
use super::report::Problem;
use super::{ConfigError, names};
use crate::telemetry;
use fleet_protocol::variable;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A setting's check: what is wrong with the value, or nothing.
type Check = fn(&str) -> Result<(), &'static str>;

pub(super) struct Reader<'a, L> {
    env: &'a L,
    pub(super) problems: Vec<Problem>,
    /// What each setting came to, defaults included; a secret only as whether it is set. The
    /// configuration's hash is over this.
    pub(super) settings: BTreeMap<&'static str, String>,
}

impl<'a, L: Lookup> Reader<'a, L> {
    pub(super) fn new(env: &'a L) -> Self {
        Self { env, problems: Vec::new(), settings: BTreeMap::new() }
    }

    /// Ends the reading: what was read, and what each setting came to. Variables with one of the
    /// prefixes that are not known are problems too.
    ///
    /// # Errors
    /// Every problem of all settings, sorted by their names.
    pub(super) fn finish<T>(
        mut self,
        config: Option<T>,
        known: &[&'static str],
        prefixes: &[&'static str],
    ) -> Result<(T, BTreeMap<&'static str, String>), ConfigError> {
        self.problems.extend(telemetry::log_filter(self.env).err());
        self.problems.extend(names::unknown(self.env, known, prefixes));
        self.problems.sort_by(|left, right| left.variable.cmp(&right.variable));
        match config {
            Some(config) if self.problems.is_empty() => Ok((config, self.settings)),
            _ => Err(ConfigError { problems: self.problems }),
        }
    }

    /// The value of `name`; an empty variable counts as not set.
    fn get(&self, name: &str) -> Option<String> {
        self.env.get(name).filter(|text| !variable::is_empty(text))
    }

    /// Notes a problem.
    pub(super) fn reject(
        &mut self,
        variable: &str,
        wrong: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem {
            variable: variable.to_owned(),
            wrong: wrong.into(),
            fix: fix.into(),
        });
    }

    /// A whole number within `range`; `default` where the variable is not set.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = match self.get(name) {
            None => Some(default),
            // u32's own parser takes "+5"; a setting is digits only.
            Some(text) => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok().filter(|number| digits && range.contains(number));
                if number.is_none() {
                    self.reject(
                        name,
                        format!("is {}", shown(&text)),
                        format!("Set a whole number from {} to {}", range.start(), range.end()),
                    );
                }
                number
            }
        }?;
        self.settings.insert(name, number.to_string());
        Some(number)
    }

    /// `true` or `false`, in just these words; `false` where the variable is not set.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let flag = match self.get(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => {
                self.reject(name, format!("is {}", shown(text)), "Set true or false");
                return None;
            }
        };
        self.settings.insert(name, flag.to_string());
        Some(flag)
    }

    /// A text that has to be set.
    pub(super) fn required(&mut self, name: &'static str, check: Check) -> Option<String> {
        let text = self.get(name);
        if text.is_none() {
            self.reject(name, "is not set", "Set it: it has no default");
        }
        self.checked(name, text?, check)
    }

    /// A text, or `default` where the variable is not set.
    pub(super) fn text(
        &mut self,
        name: &'static str,
        default: String,
        check: Check,
    ) -> Option<String> {
        let text = self.get(name).unwrap_or(default);
        self.checked(name, text, check)
    }

    /// A text that may be left out.
    pub(super) fn optional(&mut self, name: &'static str, check: Check) -> Option<String> {
        let text = self.get(name)?;
        self.checked(name, text, check)
    }

    /// The same, where an empty text counts as left out: a template's parameter has no other way to
    /// say so, and `sam local` sets what `AWS::NoValue` leaves out.
    pub(super) fn optional_or_empty(&mut self, name: &'static str, check: Check) -> Option<String> {
        let text = self.get(name)?;
        self.checked(name, text, check)
    }

    fn checked(&mut self, name: &'static str, text: String, check: Check) -> Option<String> {
        if let Err(fix) = check(&text) {
            self.reject(name, format!("is {}", shown(&text)), fix);
            return None;
        }
        self.settings.insert(name, text.clone());
        Some(text)
    }

    /// A secret that may be left out. Its value is in no problem and in no setting.
    pub(super) fn secret(&mut self, name: &'static str, check: Check) -> Option<SecretString> {
        let text = self.get(name)?;
        if let Err(fix) = check(&text) {
            self.reject(name, "has a value that cannot be used (not shown: it is a secret)", fix);
            return None;
        }
        self.settings.insert(name, "set".to_owned());
        Some(SecretString::from(text))
    }

    /// One half of the AWS credentials.
    pub(super) fn credential(&mut self, name: &'static str) -> Option<SecretString> {
        let credential = self.secret(name, |_| Ok(()));
        if credential.is_none() {
            self.reject(
                name,
                "is not set",
                "Lambda sets it; elsewhere export the credentials of an AWS user or role",
            );
        }
        credential
    }

    /// Certificates in PEM form: the variable holds them or the path of a file that does.
    pub(super) fn certificates(&mut self, name: &'static str) -> Option<String> {
        const FIX: &str =
            "Set certificates in PEM form, or the path of a readable file that holds them";
        let text = self.get(name)?;
        let (pem, place) = if text.contains("-----BEGIN") {
            (text, "holds".to_owned())
        } else {
            match std::fs::read_to_string(&text) {
                Ok(pem) => (pem, format!("names {text:?}, which holds")),
                Err(error) => {
                    self.reject(
                        name,
                        format!("is {}, which cannot be read: {error}", shown(&text)),
                        FIX,
                    );
                    return None;
                }
            }
        };
        let mut roots = RootCertStore::empty();
        let added = CertificateDer::pem_slice_iter(pem.as_bytes()).try_for_each(|certificate| {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())
        });
        match added {
            Ok(()) if !roots.is_empty() => {
                self.settings.insert(name, pem.clone());
                Some(pem)
            }
            Ok(()) => {
                self.reject(name, format!("{place} no certificate"), FIX);
                None
            }
            Err(error) => {
                self.reject(name, format!("{place} a broken certificate ({error})"), FIX);
                None
            }
        }
    }
}

/// A value for a report. What looks like an address with a password in it got into the wrong
/// variable and is not shown.
fn shown(text: &str) -> String {
    if text.contains("://") && text.contains('@') {
        "an address with credentials (not shown)".to_owned()
    } else {
        format!("{text:?}")
    }
}
