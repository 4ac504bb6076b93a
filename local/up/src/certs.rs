//! Certificates for the servers on this machine: one authority per server, made on the spot.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::Error;

/// The name a server certificate is for, beside `localhost` and `127.0.0.1`.
pub const SERVER_NAME: &str = "db.fleet.test";

/// A certificate authority with its key.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server certificate with its key, as PEM.
pub(crate) struct ServerCertificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What may be wrong with a server certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Expired,
    WrongName,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "fleet on one machine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        Ok(Self(CertifiedIssuer::self_signed(params, key).map_err(failed)?))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, flaw: Flaw) -> Result<ServerCertificate, Error> {
        let names: &[&str] = match flaw {
            Flaw::WrongName => &["elsewhere.test"],
            Flaw::None | Flaw::Expired => &["localhost", SERVER_NAME, "127.0.0.1"],
        };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.0).map_err(failed)?;
        Ok(ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// The PEM of an authority that signed nothing here: for tests of a wrong authority.
///
/// # Errors
/// When the authority cannot be made.
pub fn other_ca_pem() -> Result<String, Error> {
    Ok(Authority::new()?.pem())
}

fn failed(error: rcgen::Error) -> Error {
    Error::Failed(format!("make a certificate: {error}"))
}
