//! The address of a fleet's API.

use crate::finish::Failure;
use std::fmt;
use std::net::IpAddr;
use ureq::http::Uri;

/// Scheme, host and perhaps a path, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    local: bool,
}

impl Address {
    /// Reads what `from` gives.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(from: &str, text: &str) -> Result<Address, Failure> {
        let wrong = |what: &str| {
            Err(Failure::usage(format!(
                "{from} {what}; give the stack's output PageUrl, such as \
                 https://abc123.execute-api.us-east-1.amazonaws.com"
            )))
        };
        let Ok(uri) = text.trim_end_matches('/').parse::<Uri>() else {
            return wrong("is no address");
        };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return wrong("has no scheme and host");
        };
        // What stands before an @ is a password, and an address is shown in messages.
        if authority.as_str().contains('@') {
            return wrong("holds a user or a password");
        }
        if uri.query().is_some() || text.contains('#') {
            return wrong("holds more than scheme, host and path");
        }
        let local = is_local(authority.host());
        match scheme {
            "https" => {}
            "http" if local => {}
            "http" => return wrong("would send the token in clear text: http is for this machine"),
            _ => return wrong("is neither https nor http"),
        }
        Ok(Address { text: text.trim_end_matches('/').to_owned(), local })
    }

    /// On this machine, where no proxy helps.
    pub(crate) fn is_local(&self) -> bool {
        self.local
    }
}

fn is_local(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || ip.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_or_of_this_machine() {
        for (given, text) in [
            ("https://fleet.example.com/", "https://fleet.example.com"),
            ("https://fleet.example.com/staging", "https://fleet.example.com/staging"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(Address::parse("--url", given).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_repeating_it() {
        for (given, what) in [
            ("fleet.example.com", "no scheme"),
            ("", "no address"),
            ("ftp://fleet.example.com", "neither https nor http"),
            ("http://fleet.example.com", "clear text"),
            ("https://me:secret@fleet.example.com", "a password"),
            ("https://fleet.example.com?token=secret", "more than"),
        ] {
            let said = Address::parse("--url", given).unwrap_err().message;
            assert!(said.starts_with("--url ") && said.contains(what), "{given}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
