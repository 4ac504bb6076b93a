use super::*;
use crate::aws::{AwsError, AwsErrorKind};
use Role::{Operator, Reader};
use std::sync::Mutex as StdMutex;

/// A source that tells whatever the test last put into it, and counts how often it was asked.
#[derive(Default)]
struct Source(StdMutex<(Vec<(Role, &'static str)>, u32)>);

impl Source {
    fn set(&self, tokens: &[(Role, &'static str)]) {
        self.0.lock().unwrap().0 = tokens.to_vec();
    }

    fn asked(&self) -> u32 {
        self.0.lock().unwrap().1
    }
}

impl TokenSource for Source {
    async fn tokens(&self) -> Result<Vec<(Role, SecretString)>, SecretError> {
        let mut inner = self.0.lock().unwrap();
        inner.1 += 1;
        if inner.0.is_empty() {
            let source = AwsError::new(AwsErrorKind::Throttled, "GetSecretValue was refused");
            return Err(SecretError::Aws { id: "ghosthands/test".to_owned(), source });
        }
        Ok(inner.0.iter().map(|(role, token)| (*role, SecretString::from(*token))).collect())
    }
}

fn gate(tokens: &[(Role, &'static str)]) -> Gate<Source> {
    let source = Source::default();
    source.set(tokens);
    Gate::over(source)
}

/// The role that was let in to what every role may do, `second` seconds after the start.
async fn check(
    gate: &Gate<Source>,
    start: Instant,
    second: u64,
    header: &str,
) -> Result<Role, Refusal> {
    let at = start + Duration::from_secs(second);
    gate.check_at(Some(header), Reader, at).await.map(|caller| caller.role)
}

#[tokio::test(flavor = "current_thread")]
async fn the_current_and_the_previous_token_are_both_let_in() {
    let (gate, start) = (gate(&[(Operator, "new-token"), (Operator, "old-token")]), Instant::now());
    assert_eq!(check(&gate, start, 0, "Bearer new-token").await, Ok(Operator));
    assert_eq!(check(&gate, start, 1, "bearer  old-token ").await, Ok(Operator));
    assert_eq!(check(&gate, start, 2, "Bearer new-toke").await, Err(Refusal::Wrong));
    assert_eq!(check(&gate, start, 3, "Bearer new-token2").await, Err(Refusal::Wrong));
    assert_eq!(gate.source.asked(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_reader_may_look_and_an_operator_may_do_both() {
    let gate = gate(&[(Operator, "an-operator"), (Reader, "a-reader")]);
    let check = |token, needs| gate.check(Some(token), needs);
    assert_eq!(check("Bearer a-reader", Reader).await.unwrap().role, Reader);
    assert_eq!(check("Bearer an-operator", Reader).await.unwrap().role, Operator);
    assert_eq!(check("Bearer an-operator", Operator).await.unwrap().role, Operator);
    let refused = check("Bearer a-reader", Operator).await.unwrap_err();
    let Refusal::Forbidden { caller, needs } = refused else { panic!("{refused:?}") };
    assert_eq!((caller.role, needs), (Reader, Operator));
    assert_eq!(gate.source.asked(), 1, "a valid token needs no further look");
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_of_both_roles_is_the_operators() {
    for tokens in
        [[(Operator, "shared"), (Reader, "shared")], [(Reader, "shared"), (Operator, "shared")]]
    {
        let gate = gate(&tokens);
        assert_eq!(gate.check(Some("Bearer shared"), Operator).await.unwrap().role, Operator);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_caller_is_told_by_role_and_fingerprint_and_never_by_token() {
    let gate = gate(&[(Operator, "hunter2-hunter2-hunter2")]);
    let caller = gate.check(Some("Bearer hunter2-hunter2-hunter2"), Reader).await.unwrap();
    // printf hunter2-hunter2-hunter2 | sha256sum
    assert_eq!(caller.to_string(), "operator:ae71c4cd");
    assert_eq!(serde_json::to_value(caller).unwrap(), "operator:ae71c4cd");
    assert!(!format!("{caller:?} {gate:?}", gate = gate.looked).contains("hunter2"));
}

#[tokio::test(flavor = "current_thread")]
async fn no_bearer_token_is_missing_and_costs_no_look() {
    let (gate, start) = (gate(&[(Operator, "new-token")]), Instant::now());
    assert_eq!(gate.check(None, Reader).await, Err(Refusal::Missing));
    for header in ["", "Bearer", "Bearer ", "Basic new-token", "new-token", "Bearernew-token"] {
        assert_eq!(check(&gate, start, 0, header).await, Err(Refusal::Missing), "{header:?}");
    }
    assert_eq!(gate.source.asked(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_rotated_in_works_at_once_and_rubbish_cannot_hammer_the_source() {
    let (gate, start) = (gate(&[(Operator, "first-token")]), Instant::now());
    assert_eq!(check(&gate, start, 0, "Bearer first-token").await, Ok(Operator));
    gate.source.set(&[(Operator, "second-token"), (Operator, "first-token")]);
    assert_eq!(check(&gate, start, 20, "Bearer second-token").await, Ok(Operator));
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
    let (gate, start) = (gate(&[(Operator, "first-token")]), Instant::now());
    assert_eq!(check(&gate, start, 0, "Bearer first-token").await, Ok(Operator));
    gate.source.set(&[(Operator, "third-token"), (Operator, "second-token")]);
    assert_eq!(check(&gate, start, 299, "Bearer first-token").await, Ok(Operator));
    assert_eq!(check(&gate, start, 300, "Bearer first-token").await, Err(Refusal::Wrong));
}

#[tokio::test(flavor = "current_thread")]
async fn a_source_that_is_down_refuses_nobody_for_good_and_lets_nobody_in() {
    let (gate, start) = (gate(&[]), Instant::now());
    for second in 0..15 {
        assert_eq!(check(&gate, start, second, "Bearer a-token").await, Err(Refusal::Unavailable));
    }
    assert_eq!(gate.source.asked(), 1);
    gate.source.set(&[(Operator, "a-token")]);
    assert_eq!(check(&gate, start, 15, "Bearer a-token").await, Ok(Operator));
    gate.source.set(&[]);
    assert_eq!(check(&gate, start, 314, "Bearer a-token").await, Ok(Operator));
    assert_eq!(check(&gate, start, 315, "Bearer a-token").await, Err(Refusal::Unavailable));
}

#[tokio::test(flavor = "current_thread")]
async fn an_empty_token_in_the_secret_is_nobodys() {
    let gate = gate(&[(Operator, ""), (Reader, "")]);
    assert_eq!(gate.check(Some("Bearer x"), Reader).await, Err(Refusal::Wrong));
}

#[tokio::test(flavor = "current_thread")]
async fn the_environments_tokens_are_each_of_their_role() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    let tokens =
        EnvironmentTokens { operator: secret("hunter2-a"), reader: Some(secret("hunter2-b")) };
    let gate = Gate::over(Tokens::Environment(tokens));
    assert_eq!(gate.check(Some("Bearer hunter2-a"), Reader).await.unwrap().role, Operator);
    assert_eq!(gate.check(Some("Bearer hunter2-b"), Reader).await.unwrap().role, Reader);
    assert!(!format!("{gate:?}").contains("hunter2"));
}
