//! A verified connection to Postgres, and a clear word for every way it can fail.
//!
//! TLS is not optional here: the certificate chain and the host name are always verified, whatever
//! weaker mode a URL asks for is rejected. Nothing is prepared by name and nothing is set for the
//! session, so that a transaction pooler between us and the database changes nothing.

mod addresses;
mod connect;
mod error;
mod tls;
mod url;
mod url_parameters;

pub use addresses::NoAddressAnswers;
pub use connect::{CONNECT_LIMIT, Connection, Database};
pub use error::PostgresError;
pub use tls::{Trust, TrustProblem};
pub use url::{DatabaseUrl, UrlProblem};
