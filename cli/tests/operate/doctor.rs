use crate::fixture::{old, partial, whole};
use crate::support::{Act, Ran, Server, TOKEN, ghfleet, problem, run};
use serde_json::{Value, json};
use std::net::TcpListener;

/// Doctor with this API, and with neither AWS nor the AWS CLI.
fn doctor(server: &Server, arguments: &[&str]) -> Ran {
    let mut command = ghfleet(&["doctor"]);
    command.args(arguments).env("PATH", "/none");
    run(command.env("GHFLEET_URL", &server.url).env("GHFLEET_TOKEN", TOKEN))
}

fn answering(status: Value) -> Server {
    Server::always(move || Act::Json(200, status.clone()))
}

/// State, finding and fix of one check.
fn found(ran: &Ran, area: &str, check: &str) -> (String, String, String) {
    let document: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(document["code"], ran.code);
    let findings = document["findings"].as_array().expect("a list");
    let one = findings.iter().find(|it| it["area"] == area && it["check"] == check);
    let one = one.unwrap_or_else(|| panic!("{area}/{check} is among {findings:#?}"));
    let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("finding"), text("fix"))
}

#[test]
fn what_the_api_alone_tells_is_shown_by_area_with_its_fixes() {
    let ran = doctor(&answering(json!(whole())), &[]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{}", ran.out);
    insta::assert_snapshot!(ran.out);
}

#[test]
fn what_the_control_plane_cannot_read_is_a_fault_of_its_own() {
    let ran = doctor(&answering(json!(partial())), &["--json"]);
    let (state, finding, fix) = found(&ran, "access", "control plane");
    assert_eq!((ran.code, state.as_str()), (1, "fault"));
    assert!(
        finding
            .starts_with("it cannot read queue, workers: connection refused by db.internal:5432"),
        "{finding}"
    );
    assert_eq!(fix, "less docs/runbooks/autoscale-blind.md");
}

#[test]
fn an_older_control_plane_is_named_and_what_it_does_not_tell_is_not_checked() {
    let ran = doctor(&answering(old()), &["--json"]);
    let (state, finding, fix) = found(&ran, "access", "API");
    assert_eq!((ran.code, state.as_str()), (69, "warning"));
    assert!(finding.contains("is older than this ghfleet"), "{finding}");
    assert!(fix.contains("sam deploy"), "{fix}");
    for (area, check) in [("workers", "heartbeats"), ("scaling", "ticks"), ("bill", "bill")] {
        assert_eq!(found(&ran, area, check).0, "not_checked", "{area}/{check}");
    }
}

#[test]
fn a_token_that_is_nobodys_is_a_fault_and_an_api_that_is_down_is_not_checked() {
    let ran = doctor(&Server::always(|| problem(401, "nobody's")), &["--json"]);
    let (state, finding, _) = found(&ran, "access", "API");
    assert_eq!((ran.code, state.as_str()), (1, "fault"));
    assert!(finding.contains("does not accept GHFLEET_TOKEN (401)"), "{finding}");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let mut command = ghfleet(&["doctor", "--json", "--url", &url]);
    let ran = run(command.env("PATH", "/none").env("GHFLEET_TOKEN", TOKEN));
    let (state, finding, _) = found(&ran, "access", "API");
    assert_eq!((ran.code, state.as_str()), (69, "not_checked"));
    assert!(finding.contains("refuses the connection"), "{finding}");
    // Where no stack is named at all, that is what is wrong.
    let ran = run(ghfleet(&["doctor", "--json"]).env("PATH", "/none"));
    let (state, finding, _) = found(&ran, "access", "API");
    assert_eq!((ran.code, state.as_str()), (1, "fault"));
    assert!(finding.contains("no stack is named"), "{finding}");
}

#[test]
fn credentials_of_the_aws_cli_are_used_where_the_environment_has_none() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::new(|request| match request.line.starts_with("GET ") {
        true => Act::Json(200, json!(whole())),
        // AWS, which answers the first call and is asked no second one.
        false => Act::Text(
            403,
            "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>over</Message></Error>\
             </ErrorResponse>"
                .to_owned(),
        ),
    });
    let bin = crate::support::home();
    let aws = bin.join("aws");
    let keys =
        r#"{"Version":1,"AccessKeyId":"KEY-OF-CLI","SecretAccessKey":"s","SessionToken":"t"}"#;
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\"configure get region --profile p\") echo eu-west-1 ;;\n\
         \"configure export-credentials --format process --profile p\") echo '{keys}' ;;\n\
         *) echo \"no $*\" >&2; exit 1 ;;\nesac\n"
    );
    std::fs::write(&aws, script).unwrap();
    std::fs::set_permissions(&aws, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = ghfleet(&["doctor", "--json", "--aws-profile", "p"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    command.env("GHFLEET_URL", &server.url).env("GHFLEET_TOKEN", TOKEN);
    let ran = run(command.env("AWS_ENDPOINT_URL", &server.url));
    let (state, finding, fix) = found(&ran, "access", "AWS credentials");
    assert_eq!((state.as_str(), fix.contains("aws sso login")), ("fault", true), "{finding}");
    assert!(finding.contains("ExpiredToken: over"), "{finding}");
    let asked: Vec<String> = server
        .requests()
        .iter()
        .filter_map(|request| request.header("authorization").map(str::to_owned))
        .filter(|header| header.starts_with("AWS4-"))
        .collect();
    let [header] = &asked[..] else { panic!("one call: {asked:?}") };
    assert!(header.contains("KEY-OF-CLI/") && header.contains("/eu-west-1/sts/"), "{header}");
}
