//! What several of the suites need.

use std::process::Command;

/// An Auto Scaling call as an operator's own client would make it.
///
/// # Panics
/// When curl is missing, or AWS (its double) refuses the call.
pub async fn auto_scaling(endpoint: &str, action: &str, parameters: &[(&str, &str)]) {
    let fixed = [("Action", action), ("Version", "2011-01-01")];
    let form: Vec<String> =
        fixed.iter().chain(parameters).map(|(name, value)| format!("{name}={value}")).collect();
    let endpoint = endpoint.to_owned();
    let run = move || {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "--user", "test:test", &endpoint]);
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:autoscaling"]);
        for pair in form {
            curl.arg("--data-urlencode").arg(pair);
        }
        curl.output().expect("curl runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("joins");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
