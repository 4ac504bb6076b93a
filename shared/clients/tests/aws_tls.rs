//! Whom the AWS clients believe over https: Amazon's authorities, or those of `AWS_CA_BUNDLE` in
//! their place, and nobody else.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use fleet_clients::aws::Aws;
use fleet_clients::config::AutoscaleConfig;
use fleet_clients::parameters::Parameters;
use fleet_protocol::reading::{Reading, UnknownCause};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

struct Server {
    address: String,
    ca_pem: String,
}

/// An https server on this machine that answers every request with "there is no such parameter",
/// under an authority of its own.
fn server(name: &str) -> Server {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    // The thread ends with the test's process; a client that hangs up ends only its own connection.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = StreamOwned::new(connection, stream);
            let body = r#"{"__type":"ParameterNotFound"}"#;
            let answer = format!(
                "HTTP/1.1 400 X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            if tls.read(&mut [0; 4096]).is_ok() {
                drop(tls.write_all(answer.as_bytes()));
                drop(tls.flush());
            }
        }
    });
    Server { address, ca_pem: authority.pem() }
}

async fn ask(endpoint: &str, more: &[(&str, &str)]) -> Reading<Option<String>> {
    let settings = [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ASG_NAME", "asg"),
        ("GH_ENVIRONMENT", "test"),
    ];
    let env: BTreeMap<String, String> = settings
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = AutoscaleConfig::from_env(&env).unwrap();
    Parameters::new(&Aws::new(&config.aws)).get("/p").await
}

fn refused(reading: Reading<Option<String>>, says: &str) {
    let Reading::Unknown(unknown) = reading else { panic!("believed: {reading:?}") };
    assert_eq!(unknown.cause, UnknownCause::Unreachable, "{unknown:?}");
    assert!(unknown.detail.contains(says), "{unknown:?}");
}

#[tokio::test]
async fn an_authority_that_is_not_amazons_is_believed_only_where_the_site_says_so() {
    let server = server("127.0.0.1");
    refused(ask(&server.address, &[]).await, "UnknownIssuer");
    let bundle = [("AWS_CA_BUNDLE", server.ca_pem.as_str())];
    assert_eq!(ask(&server.address, &bundle).await, Reading::Known(None));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let server = server("elsewhere.test");
    let bundle = [("AWS_CA_BUNDLE", server.ca_pem.as_str())];
    refused(ask(&server.address, &bundle).await, "not valid for name");
}
