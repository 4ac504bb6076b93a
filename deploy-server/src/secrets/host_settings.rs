//! Which variables steer root's own code, and so never come from the application's secret.
//!
//! Whoever may write the application's secret must not thereby decide what root runs, where it
//! sends its credentials, or which images it starts. Two kinds of names follow from that: those
//! that no application has a use for are refused wherever the secret has them; those that the
//! application needs as well (its region, its port) reach the containers, and the host's own code
//! reads them from the host's own environment only (`Secrets::host_environment`).

/// Prefixes that are refused: the control plane's tokens, the host server's and the cleanup's
/// settings, and what the loader, the C library, systemd and Docker read.
const REFUSED_PREFIXES: [&str; 19] = [
    "FLEET_",
    "VALET_DEPLOY_",
    "VALET_FLEET_",
    "VALET_WEBHOOK_",
    "GH_CLEANUP_",
    "GH_CONTAINER_",
    "GH_DEPLOY_",
    "GH_LOG_",
    "GH_METADATA_",
    "AWS_EC2_METADATA_",
    "BASH_",
    "COMPOSE_",
    "DOCKER_",
    "GLIBC_",
    "LD_",
    "LISTEN_",
    "MALLOC_",
    "SYSTEMD_",
    "WATCHDOG_",
];
const REFUSED: [&str; 35] = [
    "ALL_PROXY",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_ECR",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "CREDENTIALS_DIRECTORY",
    "ECR_AUTH",
    "ENV",
    "GCONV_PATH",
    "GETCONF_DIR",
    "HOME",
    "HOSTALIASES",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IFS",
    "JOURNAL_STREAM",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "NLSPATH",
    "NOTIFY_SOCKET",
    "NO_PROXY",
    "PATH",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZDIR",
    "USER",
    super::SOURCE,
];
/// The two that callers of the host show are the one thing of its own that the secret may carry.
const ALLOWED: [&str; 3] =
    [super::DEPLOY_SECRET, super::DEPLOY_SECRET_PREVIOUS, super::ATM_DEPLOY_SECRET];

/// What the host reads and the application may have too. The host takes its own value only.
const SHARED_PREFIXES: [&str; 5] = ["GH_API_", "GH_WORKER_", "ECR_", "EC2_", "REGISTRY_"];
const SHARED: [&str; 7] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GH_ENVIRONMENT",
    "NODE_ENV",
];

/// Whether the application's secret must not have a key of this name. Proxies are read in small
/// letters as well, so the case of a name does not matter.
#[must_use]
pub fn is_refused(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    !ALLOWED.contains(&name.as_str())
        && (REFUSED.contains(&name.as_str())
            || REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Whether the host reads this variable, and only from its own environment.
#[must_use]
pub fn is_shared(name: &str) -> bool {
    SHARED.contains(&name) || SHARED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{is_refused, is_shared};

    #[test]
    fn what_steers_root_is_refused_and_what_an_application_needs_is_not() {
        for name in [
            "FLEET_OPERATOR_TOKEN",
            "VALET_DEPLOY_WEBHOOK_SECRET",
            "GH_CLEANUP_JOURNALCTL",
            "GH_LOG_DIR",
            "GH_DEPLOY_SOCKET",
            "LD_PRELOAD",
            "PATH",
            "http_proxy",
            "AWS_ENDPOINT_URL",
            "DOCKER_SOCKET",
            "SECRETS_MANAGER_KEYS",
        ] {
            assert!(is_refused(name), "{name}");
        }
        for name in [
            "GH_DEPLOY_SECRET",
            "ATM_DEPLOY_SECRET",
            "VALET_API_URL",
            "DATABASE_URL",
            "GH_CREDENTIAL_KEY",
            "AWS_REGION",
            "AWS_ENDPOINT_URL_S3",
            "AWS_LIFECYCLE_HOOK_NAME",
            "NODE_ENV",
            "LOG_LEVEL",
        ] {
            assert!(!is_refused(name), "{name}");
        }
        assert!(is_shared("ECR_REGISTRY") && is_shared("GH_WORKER_PORT"));
        assert!(!is_shared("DATABASE_URL"));
    }

    /// Every variable that the host's code names in a string is refused in the secret, shared (read
    /// from the host's own environment only), or a secret of the HTTP interface.
    #[test]
    fn every_variable_that_the_hosts_code_reads_has_a_rule() {
        let files = [
            include_str!("../config.rs"),
            include_str!("../aws/mod.rs"),
            include_str!("../ecr.rs"),
            include_str!("../cleanup/mod.rs"),
            include_str!("../control_socket.rs"),
            include_str!("../serve.rs"),
        ];
        let mut seen = 0;
        for text in files {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for name in code.split('"').skip(1).step_by(2) {
                let is_variable = name.contains('_')
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
                if is_variable {
                    seen += 1;
                    let known =
                        is_refused(name) || is_shared(name) || super::ALLOWED.contains(&name);
                    assert!(known, "{name} is read by root and may come from the secret");
                }
            }
        }
        assert!(seen > 20, "only {seen} variables were found");
    }
}
