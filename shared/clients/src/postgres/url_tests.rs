use super::*;
use proptest::prelude::*;

fn parse(url: &str) -> Result<DatabaseUrl, Vec<UrlProblem>> {
    DatabaseUrl::parse(&SecretString::from(url))
}

fn accepted(url: &str) -> DatabaseUrl {
    parse(url).unwrap_or_else(|problems| panic!("{url}: {problems:?}"))
}

fn password(url: &DatabaseUrl) -> &str {
    url.password.as_ref().map_or("", ExposeSecret::expose_secret)
}

#[test]
fn the_forms_that_hosts_hand_out_are_accepted() {
    let supabase = accepted(
        "postgresql://postgres.abcdef:pa%40ss%2Fw@aws-0-us-east-1.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1",
    );
    assert_eq!(supabase.endpoint(), "aws-0-us-east-1.pooler.supabase.com:6543");
    assert_eq!(supabase.user, "postgres.abcdef");
    assert_eq!(password(&supabase), "pa@ss/w");
    assert_eq!(supabase.database.as_deref(), Some("postgres"));

    let bare = accepted("postgres://fleet@10.0.0.7");
    assert_eq!((bare.endpoint().as_str(), bare.database.as_deref()), ("10.0.0.7:5432", None));

    let v6 = accepted("postgres://fleet:x@[2001:db8::7]:6432/gh?sslmode=verify-full");
    assert_eq!((v6.host.as_str(), v6.endpoint().as_str()), ("2001:db8::7", "[2001:db8::7]:6432"));

    // A newline at the end of a pasted secret, and a colon in the password.
    assert_eq!(password(&accepted(" postgres://u:a:b@h/d\n")), "a:b");
}

#[test]
fn parameters_are_honoured() {
    let url = accepted(
        "postgres://u:p@h/d?sslmode=verify-ca&application_name=my%20fleet&connect_timeout=2&channel_binding=require&sslrootcert=%2Fetc%2Fca.pem",
    );
    assert_eq!(url.settings.application_name.as_deref(), Some("my fleet"));
    assert_eq!(url.settings.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(url.settings.channel_binding, Some(ChannelBinding::Require));
    assert_eq!(url.root_certificate(), Some("/etc/ca.pem"));
    for satisfied in [
        "sslmode=require",
        "sslmode=verify-full",
        "pgbouncer=true",
        "connection_limit=5",
        "pool_timeout=0",
        "statement_cache_size=0",
        "schema=public",
        "target_session_attrs=read-write",
        "uselibpqcompat=true&sslmode=require",
        "supa=base-pooler.x",
        "",
        "&sslmode=require&",
    ] {
        accepted(&format!("postgres://u:p@h/d?{satisfied}"));
    }
}

#[test]
fn what_cannot_be_honoured_is_rejected_by_name() {
    for (query, name) in [
        ("sslmode=disable", "sslmode"),
        ("sslmode=allow", "sslmode"),
        ("sslmode=prefer", "sslmode"),
        ("sslmode=", "sslmode"),
        ("ssl=false", "ssl"),
        ("sslaccept=accept_invalid_certs", "sslaccept"),
        ("sslcert=/a.pem", "sslcert"),
        ("sslrootcert=", "sslrootcert"),
        ("connect_timeout=0", "connect_timeout"),
        ("connect_timeout=soon", "connect_timeout"),
        ("connection_limit=0", "connection_limit"),
        ("channel_binding=maybe", "channel_binding"),
        ("options=-c%20statement_timeout%3D5", "options"),
        ("target_session_attrs=read-only", "target_session_attrs"),
        ("password=hunter2", "password"),
        ("statement_cache_size=-1", "statement_cache_size"),
        ("ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version"),
    ] {
        let problems = parse(&format!("postgres://u:p@h/d?{query}")).expect_err(query);
        assert!(
            matches!(&problems[..], [UrlProblem::Parameter { name: found, .. }] if *found == name),
            "{query}: {problems:?}"
        );
    }
}

#[test]
fn every_problem_is_found_at_once() {
    let problems = parse(
        "postgres://u:p@h:0/a/b?sslmode=disable&who=me&schema=a&schema=b&application_name=%zz",
    )
    .expect_err("a bad URL");
    let reason = match &problems[2] {
        UrlProblem::Parameter { name: "sslmode", reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        problems,
        [
            UrlProblem::Port,
            UrlProblem::DatabaseName,
            UrlProblem::Parameter { name: "sslmode", reason },
            UrlProblem::UnknownParameter { position: 2 },
            UrlProblem::Twice("schema"),
            UrlProblem::Encoding("application_name"),
        ]
    );
}

#[test]
fn malformed_addresses_are_named() {
    for (url, problem) in [
        ("mysql://u:p@h/d", UrlProblem::Scheme),
        ("\"postgres://u:p@h/d\"", UrlProblem::Scheme),
        ("postgres://h/d", UrlProblem::NoUser),
        ("postgres://:p@h/d", UrlProblem::NoUser),
        ("postgres://u:p@s@h/d", UrlProblem::SecondAt),
        ("postgres://u:p#s@h/d", UrlProblem::Hash),
        ("postgres://u:p@/d", UrlProblem::Host),
        ("postgres://u:p@h_st ex/d", UrlProblem::Host),
        ("postgres://u:p@%2Fvar%2Frun/d", UrlProblem::Socket),
        ("postgres://u:p@h1,h2/d", UrlProblem::ManyHosts),
        ("postgres://u:p@h:54321000/d", UrlProblem::Port),
        ("postgres://u:p@[::1]x/d", UrlProblem::Port),
        ("postgres://u:100%@h/d", UrlProblem::Encoding("password")),
        ("postgres://u:%00@h/d", UrlProblem::Encoding("password")),
    ] {
        assert_eq!(parse(url).expect_err(url), [problem], "{url}");
    }
}

/// Everything that can be printed about the outcome.
fn printed(outcome: &Result<DatabaseUrl, Vec<UrlProblem>>) -> String {
    match outcome {
        Ok(url) => format!("{url:?}{}", url.endpoint()),
        Err(problems) => problems.iter().map(|problem| format!("{problem}{problem:?}")).collect(),
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _outcome = parse(&text);
        let _outcome = parse(&format!("postgres://{text}"));
    }

    /// Whatever a password holds and however badly it is escaped, no piece of it is printed.
    #[test]
    fn a_password_is_never_printed(
        head in "[A-Z0-9@:/?#&=%,\\[\\] ]{0,12}",
        tail in "[A-Z0-9@:/?#&=%,\\[\\] ]{0,12}",
        query in "(\\?(sslmode=(disable|require)|who=me|schema=a&schema=b))?",
    ) {
        let outcome = parse(&format!("postgres://fleet:{head}qzxkw{tail}@db.example.com:6543/gh{query}"));
        // A password cut at an unescaped @ or / ends up in the host's place; it must then have been
        // refused.
        prop_assert!(!printed(&outcome).contains("qzxkw"), "{}", printed(&outcome));
    }

    #[test]
    fn an_escaped_password_survives(secret in "[^\u{0}]{0,24}") {
        let escaped: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let url = accepted(&format!("postgres://fleet:{escaped}@db.example.com/gh"));
        prop_assert_eq!(password(&url), secret.as_str());
        if !secret.is_empty() {
            prop_assert_eq!(url.scrub(&secret), "[password]");
        }
    }
}
