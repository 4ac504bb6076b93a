use super::*;
use Scope::{Operate, Read, Tick};
use std::sync::Mutex as StdMutex;

/// A source that tells whatever the test last put into it, and counts how often it was asked.
#[derive(Default)]
struct Source(StdMutex<(Vec<(Scope, &'static str)>, u32)>);

impl Source {
    fn set(&self, tokens: &[(Scope, &'static str)]) {
        self.0.lock().unwrap().0 = tokens.to_vec();
    }

    fn asked(&self) -> u32 {
        self.0.lock().unwrap().1
    }
}

impl TokenSource for Source {
    async fn tokens(&self) -> Result<Vec<Token>, SecretError> {
        let mut inner = self.0.lock().unwrap();
        inner.1 += 1;
        if inner.0.is_empty() {
            let id = "ghosthands/test".to_owned();
            return Err(SecretError::Missing { id, stage: "AWSCURRENT" });
        }
        Ok(inner.0.iter().map(|(scope, token)| Token::new(name(*scope), *scope, token)).collect())
    }
}

fn scope_of(caller: &Caller) -> Scope {
    [Operate, Tick, Read].into_iter().find(|scope| caller.scopes.allow(*scope)).unwrap()
}

/// The name of a token with this scope.
fn name(scope: Scope) -> &'static str {
    match scope {
        Read => "reader",
        Tick => "pipeline",
        Operate => "operator",
    }
}

fn gate(tokens: &[(Scope, &'static str)]) -> Gate<Source> {
    let source = Source::default();
    source.set(tokens);
    Gate::over(source)
}

/// The scope of the token that was let in to look, `second` seconds after the start.
async fn check(
    gate: &Gate<Source>,
    start: Instant,
    second: u64,
    header: &str,
) -> Result<Scope, Refusal> {
    let at = start + Duration::from_secs(second);
    gate.check_at(Some(header), Read, at).await.map(|caller| scope_of(&caller))
}

#[tokio::test(flavor = "current_thread")]
async fn the_current_and_the_previous_token_are_both_let_in() {
    let (gate, start) = (gate(&[(Operate, "new-token"), (Operate, "old-token")]), Instant::now());
    assert_eq!(check(&gate, start, 0, "Bearer new-token").await, Ok(Operate));
    assert_eq!(check(&gate, start, 1, "bearer  old-token ").await, Ok(Operate));
    assert_eq!(check(&gate, start, 2, "Bearer new-toke").await, Err(Refusal::Wrong));
    assert_eq!(check(&gate, start, 3, "Bearer new-token2").await, Err(Refusal::Wrong));
    assert_eq!(gate.source.asked(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_reader_may_look_and_an_operator_may_do_everything() {
    let gate = gate(&[(Operate, "an-operator"), (Read, "a-reader")]);
    let check = |token, needs| gate.check(Some(token), needs);
    assert_eq!(check("Bearer a-reader", Read).await.map(|it| scope_of(&it)), Ok(Read));
    assert_eq!(check("Bearer an-operator", Read).await.map(|it| scope_of(&it)), Ok(Operate));
    assert_eq!(check("Bearer an-operator", Operate).await.map(|it| scope_of(&it)), Ok(Operate));
    let refused = check("Bearer a-reader", Operate).await.unwrap_err();
    let Refusal::Forbidden { caller, needs } = refused else { panic!("{refused:?}") };
    assert_eq!((caller.name(), needs), ("reader", Operate));
    assert_eq!(gate.source.asked(), 1, "a valid token needs no further look");
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_with_two_names_is_the_one_that_may_do_more() {
    for tokens in [[(Operate, "shared"), (Read, "shared")], [(Read, "shared"), (Operate, "shared")]]
    {
        let gate = gate(&tokens);
        assert_eq!(
            gate.check(Some("Bearer shared"), Operate).await.map(|it| scope_of(&it)),
            Ok(Operate)
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_caller_is_told_by_name_and_fingerprint_and_never_by_token() {
    let gate = gate(&[(Operate, "hunter2-hunter2-hunter2")]);
    let caller = gate.check(Some("Bearer hunter2-hunter2-hunter2"), Read).await.unwrap();
    // printf hunter2-hunter2-hunter2 | sha256sum
    assert_eq!(caller.to_string(), "operator:ae71c4cd");
    assert_eq!(serde_json::to_value(&caller).unwrap(), "operator:ae71c4cd");
    assert!(!format!("{caller:?} {gate:?}", gate = gate.looked).contains("hunter2"));
}

#[tokio::test(flavor = "current_thread")]
async fn no_bearer_token_is_missing_and_costs_no_look() {
    let (gate, start) = (gate(&[(Operate, "new-token")]), Instant::now());
    assert_eq!(gate.check(None, Read).await, Err(Refusal::Missing));
    for header in ["", "Bearer", "Bearer ", "Basic new-token", "new-token", "Bearernew-token"] {
        assert_eq!(check(&gate, start, 0, header).await, Err(Refusal::Missing), "{header:?}");
    }
    assert_eq!(gate.source.asked(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_rotated_in_works_at_once_and_rubbish_cannot_hammer_the_source() {
    let (gate, start) = (gate(&[(Operate, "first-token")]), Instant::now());
    assert_eq!(check(&gate, start, 0, "Bearer first-token").await, Ok(Operate));
    gate.source.set(&[(Operate, "second-token"), (Operate, "first-token")]);
    assert_eq!(check(&gate, start, 20, "Bearer second-token").await, Ok(Operate));
    assert_eq!(gate.source.asked(), 2);
    for second in 21..=34 {
        assert_eq!(check(&gate, start, second, "Bearer rubbish").await, Err(Refusal::Wrong));
    }
    assert_eq!(gate.source.asked(), 2, "looked again within the floor");
    assert_eq!(check(&gate, start, 35, "Bearer rubbish").await, Err(Refusal::Wrong));
    assert_eq!(gate.source.asked(), 3);
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_rotated_out_twice_stops_working_when_the_cache_ends() {
    let (gate, start) = (gate(&[(Operate, "first-token")]), Instant::now());
    assert_eq!(check(&gate, start, 0, "Bearer first-token").await, Ok(Operate));
    gate.source.set(&[(Operate, "third-token"), (Operate, "second-token")]);
    assert_eq!(check(&gate, start, 59, "Bearer first-token").await, Ok(Operate));
    assert_eq!(check(&gate, start, 60, "Bearer first-token").await, Err(Refusal::Wrong));
}

#[tokio::test(flavor = "current_thread")]
async fn a_source_that_is_down_refuses_nobody_for_good_and_lets_nobody_in() {
    let (gate, start) = (gate(&[]), Instant::now());
    for second in 0..15 {
        assert_eq!(check(&gate, start, second, "Bearer a-token").await, Err(Refusal::Unavailable));
    }
    assert_eq!(gate.source.asked(), 1);
    gate.source.set(&[(Operate, "a-token")]);
    assert_eq!(check(&gate, start, 15, "Bearer a-token").await, Ok(Operate));
    gate.source.set(&[]);
    assert_eq!(check(&gate, start, 74, "Bearer a-token").await, Ok(Operate));
    assert_eq!(check(&gate, start, 75, "Bearer a-token").await, Err(Refusal::Unavailable));
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_that_may_tick_may_do_nothing_else() {
    let gate = gate(&[(Tick, "a-pipelines-token"), (Operate, "an-operators-token")]);
    let check = |token, needs| gate.check(Some(token), needs);
    assert_eq!(check("Bearer a-pipelines-token", Tick).await.unwrap().name(), "pipeline");
    for needs in [Read, Operate] {
        let refused = check("Bearer a-pipelines-token", needs).await.unwrap_err();
        assert!(matches!(refused, Refusal::Forbidden { .. }), "{refused:?}");
    }
    check("Bearer an-operators-token", Tick).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn the_environments_tokens_are_each_of_their_scope() {
    let tokens =
        vec![Token::new("operator", Operate, "hunter2-a"), Token::new("reader", Read, "hunter2-b")];
    let gate = Gate::over(Tokens::Environment(tokens));
    let name = async |token| gate.check(Some(token), Read).await.unwrap().to_string();
    assert!(name("Bearer hunter2-a").await.starts_with("operator:"));
    assert!(name("Bearer hunter2-b").await.starts_with("reader:"));
    assert!(!format!("{gate:?}").contains("hunter2"));
}

#[tokio::test]
async fn only_a_token_of_nobody_does_not_go_on() {
    let known = gate(&[(Operate, "an-operators-token"), (Tick, "a-token-for-ticks")]);
    for (header, goes_on) in [
        (Some("Bearer an-operators-token"), true),
        // What it may do is its function's to say.
        (Some("Bearer a-token-for-ticks"), true),
        (Some("Bearer a-token-of-nobody"), false),
        (Some("Basic YTpi"), false),
        (None, false),
    ] {
        assert_eq!(known.lets_on(header).await, goes_on, "{header:?}");
    }
    // The function then answers 503 with the reason.
    assert!(gate(&[]).lets_on(Some("Bearer an-operators-token")).await);
}
