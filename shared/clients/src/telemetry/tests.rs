use super::*;
use std::collections::BTreeMap;

fn filter(settings: &[(&str, &str)]) -> Result<String, Problem> {
    let env: BTreeMap<String, String> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    log_filter(&env).map(|filter| filter.to_string())
}

#[test]
fn lambdas_level_comes_before_rust_log_and_info_is_the_default() {
    assert_eq!(filter(&[]).unwrap(), "info");
    assert_eq!(filter(&[("RUST_LOG", "fleet_clients=debug")]).unwrap(), "fleet_clients=debug");
    let both = [("AWS_LAMBDA_LOG_LEVEL", "WARN"), ("RUST_LOG", "debug")];
    assert_eq!(filter(&both).unwrap(), "warn");
    assert_eq!(filter(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")]).unwrap(), "error");
}

#[test]
fn a_level_that_does_not_exist_names_its_variable() {
    let problem = filter(&[("RUST_LOG", "fleet=loudly")]).unwrap_err();
    assert_eq!(problem.variable, "RUST_LOG");
    assert!(problem.to_string().contains("fleet=loudly"), "{problem}");
}

#[test]
fn an_error_is_told_with_all_its_causes_once_each() {
    #[derive(Debug, thiserror::Error)]
    #[error("the queue could not be read")]
    struct Outer(#[source] Middle);
    #[derive(Debug, thiserror::Error)]
    #[error("the connection broke")]
    struct Middle(#[source] std::fmt::Error);

    let chain = error_chain(&Outer(Middle(std::fmt::Error)));
    let innermost = std::fmt::Error.to_string();
    assert_eq!(chain, format!("the queue could not be read: the connection broke: {innermost}"));
}

#[test]
fn a_record_that_is_no_json_does_not_panic() {
    // JSON has no such key, so serde_json refuses.
    emit_line(&BTreeMap::from([(vec![1_u8], 1)]));
}
