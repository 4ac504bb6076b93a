use crate::fixture::whole;
use crate::support::{Act, Ran, Server, TOKEN, ghfleet, home, problem, run};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

fn good() -> Server {
    Server::always(|| Act::Json(200, json!(whole())))
}

/// Runs `ghfleet status` with this configuration file.
fn with_config(text: &str, arguments: &[&str]) -> Ran {
    let file = home().join("config.toml");
    fs::write(&file, text).expect("a file");
    run(ghfleet(&["status"]).args(arguments).env("GHFLEET_CONFIG", file))
}

fn token_file(folder: &Path) -> String {
    let file = folder.join("token");
    fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    file.display().to_string()
}

fn bearer(server: &Server) -> Option<String> {
    server.requests()[0].header("authorization").map(str::to_owned)
}

#[test]
fn a_profile_takes_its_token_from_a_file_or_a_helper() {
    let file = token_file(&home());
    let helper = format!("token_command = [\"cat\", \"{file}\"]");
    for token in [format!("token_file = \"{file}\""), helper] {
        let server = good();
        let config = format!("[profile.staging]\nurl = \"{}/\"\n{token}\n", server.url);
        let ran = with_config(&config, &[]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert_eq!(bearer(&server), Some(format!("Bearer {TOKEN}")));
        assert_eq!(server.requests()[0].line, "GET /api/v1/admin/fleet-status");
    }
}

#[test]
fn the_file_in_the_home_directory_is_found_and_its_default_used() {
    let (one, other, folder) = (good(), good(), home());
    token_file(&folder);
    fs::create_dir_all(folder.join(".config/ghfleet")).unwrap();
    let profile = |name: &str, server: &Server| {
        format!("[profile.{name}]\nurl = \"{}\"\ntoken_file = \"~/token\"\n", server.url)
    };
    let config =
        "default = \"one\"\n".to_owned() + &profile("one", &one) + &profile("other", &other);
    fs::write(folder.join(".config/ghfleet/config.toml"), config).unwrap();
    assert_eq!(run(ghfleet(&["status"]).env("HOME", &folder)).code, 0);
    assert_eq!((one.requests().len(), other.requests().len()), (1, 0));
    let named = run(ghfleet(&["status", "--profile", "other"]).env("HOME", &folder));
    assert_eq!((named.code, other.requests().len()), (0, 1));
}

#[test]
fn a_named_profile_is_used_whatever_the_environment_says() {
    let (named, other) = (good(), good());
    let file = home().join("config.toml");
    let token = token_file(&home());
    let config = format!("[profile.p]\nurl = \"{}\"\ntoken_file = \"{token}\"\n", named.url);
    fs::write(&file, config).unwrap();
    let mut command = ghfleet(&["status", "--profile", "p"]);
    command.env("GHFLEET_CONFIG", file).env("GHFLEET_URL", &other.url);
    assert_eq!(run(command.env("GHFLEET_TOKEN", "another")).code, 0);
    assert_eq!(bearer(&named), Some(format!("Bearer {TOKEN}")));
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn the_token_file_of_the_environment_is_read() {
    let server = good();
    let mut command = ghfleet(&["status", "--url", &server.url]);
    assert_eq!(run(command.env("GHFLEET_TOKEN_FILE", token_file(&home()))).code, 0);
    assert_eq!(bearer(&server), Some(format!("Bearer {TOKEN}")));
}

#[test]
fn a_configuration_that_cannot_be_used_says_what_to_write() {
    let url = "url = \"https://fleet.example.com\"";
    for (config, said) in [
        (String::new(), "has none: name one with --profile"),
        ("[profile.a".to_owned(), "near line 1: it cannot be read as such; a profile is"),
        (format!("[profile.a]\n{url}\ntoken = \"{TOKEN}\""), "near line 3: unknown field `token`"),
        (format!("[profile.a]\n{url}\ntoken_command = \"{TOKEN}\""), "near line 3: it cannot be"),
        (format!("[profile.a]\n{url}"), "no token: the url of profile a names the address; set"),
        (format!("[profile.a]\n{url}\ntoken_file = \"/none\""), "/none cannot be read: No such"),
        (format!("[profile.a]\n{url}\ntoken_command = [\"false\"]"), "false ended with exit"),
        (format!("[profile.a]\n{url}\ntoken_command = []"), "profile a is empty; write"),
        (format!("[profile.a]\n{url}\ntoken_command = [\"yes\"]\ntoken_file = \"/x\""), "keep one"),
        (format!("[profile.a]\n{url}\ntoken_command = [\"true\"]"), "profile a holds no token"),
        (format!("[profile.a]\n{url}\n[profile.b]\n{url}"), "has a, b: name one with --profile"),
        ("[profile.a]\nurl = \"http://fleet.example.com\"".to_owned(), "profile a would send the"),
    ] {
        let ran = with_config(&config, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{config}");
        assert!(
            ran.err.starts_with("ghfleet: ") && ran.err.contains(said),
            "{config}: {}",
            ran.err
        );
    }
    let ran = with_config(&format!("[profile.a]\n{url}"), &["--profile", "b"]);
    assert!(ran.err.contains("has no profile \"b\"; it has a"), "{}", ran.err);
    let ran = run(&mut ghfleet(&["status"]));
    assert!(
        ran.err.contains("no stack is named: set GHFLEET_URL and GHFLEET_TOKEN"),
        "{}",
        ran.err
    );
}

#[test]
fn a_helper_that_prints_for_ever_is_not_read_for_ever() {
    let ran = with_config(
        "[profile.a]\nurl = \"https://fleet.example.com\"\ntoken_command = [\"yes\", \"t\"]",
        &[],
    );
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("token_command of profile a failed: yes ended with"), "{}", ran.err);
}

#[test]
fn what_comes_in_place_of_a_status_says_what_to_do() {
    let redirect = || {
        let head = "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example.com/\r\n";
        Act::Raw(format!("{head}content-length: 0\r\n\r\n").into_bytes())
    };
    let unknown = || Act::Json(404, json!({ "message": "Not Found" }));
    let stranger = || Act::Json(403, json!({ "message": "Forbidden" }));
    let large = || Act::Text(200, " ".repeat(5 * 1024 * 1024));
    let echo = || problem(401, &format!("Bearer {TOKEN} is nobody's\u{1b}[31m"));
    type Answers = fn() -> Act;
    let cases: [(Answers, i32, &str); 13] = [
        (echo, 64, "does not accept GHFLEET_TOKEN (401): Bearer (token) is nobody's [31m; use one"),
        (stranger, 64, "does not know the token of GHFLEET_TOKEN (403): Forbidden; use one that"),
        (|| problem(403, "this needs the scope operate"), 12, "may not do this (403): this needs"),
        (unknown, 69, "/api/v1/admin/fleet-status does not exist (404): Not Found; the control"),
        (|| problem(500, "it broke"), 69, "the API answered 500: it broke; try again"),
        (|| Act::Text(502, "<html>".to_owned()), 69, "the API answered 502; try again, then look"),
        (|| Act::Json(429, json!({ "message": "Too Many Requests" })), 69, "too many requests"),
        (redirect, 69, "sends on to https://elsewhere.example.com/: give the address of the API"),
        (
            || Act::Text(200, "<html>hello</html>".to_owned()),
            69,
            "something that is no JSON object",
        ),
        (|| Act::Json(200, json!({ "ok": true })), 69, "something that is no fleet's status"),
        (large, 69, "answered with more than 4194304 bytes"),
        (|| Act::HangUp, 69, "broke off ("),
        (|| Act::Raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), 69, "did not answer as HTTP ("),
    ];
    for (act, code, said) in cases {
        let ran = Server::always(act).run(&["status"]);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{said}: {}", ran.err);
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
}

#[test]
fn nobody_is_waited_for_without_end() {
    let server = Server::always(|| Act::Silence);
    let ran = server.run(&["status", "--timeout", "1"]);
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("did not answer in time: try again, or give it longer by --timeout"));
}

#[test]
fn an_address_where_nobody_listens_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ran = run(ghfleet(&["status", "--url", &url]).env("GHFLEET_TOKEN", TOKEN));
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains(&format!("{url} refuses the connection: check the url and its port")));
    let ran = run(&mut ghfleet(&["status", "--url", &url]));
    assert!(
        ran.err.contains("no token: --url names the address; set GHFLEET_TOKEN"),
        "{}",
        ran.err
    );
}

#[test]
fn a_server_without_a_certificate_of_the_public_ones_is_not_trusted() {
    let server = good();
    let url = server.url.replace("http:", "https:");
    let ran = run(ghfleet(&["status", "--url", &url]).env("GHFLEET_TOKEN", TOKEN));
    assert_eq!((ran.code, server.requests().len()), (69, 0), "{}", ran.err);
}
