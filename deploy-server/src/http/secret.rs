//! The deploy secret: compared in constant time, current and previous both valid so that rotation
//! drops nobody.

use hyper::HeaderMap;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::secrets::CALLER_SECRETS;
use crate::server::Server;

pub(super) const HEADER: &str = "x-deploy-secret";

/// True when the request shows a valid secret. Hashing first makes the comparison independent of
/// every length, and all of them are always compared.
pub(super) fn is_shown(server: &Server, headers: &HeaderMap) -> bool {
    let shown = headers.get(HEADER).map(|value| value.as_bytes()).unwrap_or_default();
    let shown = Sha256::digest(shown);
    let environment = server.secrets.environment();
    let mut valid = Choice::from(0);
    for name in CALLER_SECRETS {
        let known =
            environment.get(name).map(|secret| secret.expose_secret().trim()).unwrap_or_default();
        let same = Sha256::digest(known.as_bytes()).ct_eq(&shown);
        // An empty secret is none at all.
        valid |= same & Choice::from(u8::from(!known.is_empty()));
    }
    valid.into()
}
