//! Whom we believe to be the database: certificate authorities, and a rustls client that verifies
//! chain and host name.

use super::url::DatabaseUrl;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::{fmt, fs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Why the configured authority cannot be used. A certificate is public, so paths and parser words
/// may be shown.
#[derive(Debug, thiserror::Error)]
pub enum TrustProblem {
    #[error("{origin}: cannot read {path}: {source}")]
    Read { origin: &'static str, path: String, source: std::io::Error },
    #[error(
        "{origin}: no certificate in it; it must hold one or more PEM blocks `-----BEGIN CERTIFICATE-----`"
    )]
    NoCertificate { origin: &'static str },
    #[error("{origin}: certificate {number} cannot be read: {reason}")]
    Certificate { origin: &'static str, number: usize, reason: String },
    #[error(
        "DATABASE_CA and sslrootcert (in the database URL) both name an authority; keep DATABASE_CA and remove sslrootcert"
    )]
    TwoAuthorities,
}

/// The certificate authorities a database's certificate must chain to.
#[derive(Clone)]
pub struct Trust {
    pub(super) connector: MakeRustlsConnect,
    /// For messages: which authorities these are.
    pub(super) name: &'static str,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.name).finish()
    }
}

impl Trust {
    /// The authority in `database_ca` (PEM text, or the path of a PEM file), else the one the URL's
    /// `sslrootcert` names, else the public web roots. A configured authority is the only one
    /// believed: a certificate from a public root is then refused.
    ///
    /// # Errors
    /// Which file cannot be read, or holds no certificate.
    pub fn load(database_ca: Option<&str>, url: &DatabaseUrl) -> Result<Trust, TrustProblem> {
        match (database_ca, url.root_certificate()) {
            (Some(_), Some(_)) => Err(TrustProblem::TwoAuthorities),
            (Some(text), None) if text.contains("-----BEGIN") => {
                Trust::from_pem(text.as_bytes(), "the authority in DATABASE_CA")
            }
            (Some(path), None) => Trust::from_file(path, "the authority in DATABASE_CA"),
            (None, None | Some("system")) => Ok(Trust::web()),
            (None, Some(path)) => Trust::from_file(path, "the authority sslrootcert names"),
        }
    }

    fn from_file(path: &str, origin: &'static str) -> Result<Trust, TrustProblem> {
        let pem = fs::read(path).map_err(|source| TrustProblem::Read {
            origin,
            path: path.to_owned(),
            source,
        })?;
        Trust::from_pem(&pem, origin)
    }

    fn from_pem(pem: &[u8], origin: &'static str) -> Result<Trust, TrustProblem> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            certificate
                .map_err(|error| error.to_string())
                .and_then(|der| roots.add(der).map_err(|error| error.to_string()))
                .map_err(|reason| TrustProblem::Certificate {
                    origin,
                    number: index + 1,
                    reason,
                })?;
        }
        if roots.is_empty() {
            return Err(TrustProblem::NoCertificate { origin });
        }
        Ok(Trust::from_roots(roots, origin))
    }

    fn web() -> Trust {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Trust::from_roots(roots, "a public web authority (no DATABASE_CA is set)")
    }

    fn from_roots(roots: RootCertStore, name: &'static str) -> Trust {
        // The provider is spelled out: rustls panics where two are linked in and neither was
        // chosen.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Trust { connector: MakeRustlsConnect::new(config), name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(database_ca: Option<&str>, parameters: &str) -> String {
        let url = format!("postgres://u:p@h/d?{parameters}");
        let url = DatabaseUrl::parse(&url.into()).expect("a database URL");
        Trust::load(database_ca, &url).expect_err("a problem").to_string()
    }

    #[test]
    fn an_authority_that_cannot_be_used_is_named_by_where_it_came_from() {
        let absent = problem(Some("/no/such/ca.pem"), "");
        assert!(absent.contains("DATABASE_CA") && absent.contains("/no/such/ca.pem"), "{absent}");
        let absent = problem(None, "sslrootcert=/no/such/ca.pem");
        assert!(absent.contains("sslrootcert"), "{absent}");

        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(problem(Some(key), "").contains("no certificate"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(problem(Some(broken), "").contains("certificate 1"));
        assert!(problem(Some(broken), "sslrootcert=/ca.pem").contains("both"));
    }

    #[test]
    fn without_an_authority_the_public_ones_are_believed() {
        for parameters in ["", "sslrootcert=system"] {
            let url = DatabaseUrl::parse(&format!("postgres://u@h?{parameters}").into());
            let trust = Trust::load(None, &url.expect("a database URL")).expect("the web roots");
            assert!(trust.name.contains("public"));
        }
    }
}
