//! A password that the database refuses, with every place of the stack that reads the database in
//! use and somebody who asks on and on.

use crate::queue_world::{GROUP, SCHEDULE, SECRET, Setup, TOKEN, World};
use crate::world::event;
use aws_double::Function;
use fleet_local::template::Template;
use serde_json::{Value, json};

/// Environments that the template lets read the database at a time: ticks, and whoever looks.
const TICKING: usize = 3;
const LOOKING: usize = 2;
/// Supabase's pooler shuts everybody out at so many failures within 150 s.
const BREAKER: usize = 10;

/// What this invocation says, as text.
async fn said(function: &Function, event: &[u8]) -> String {
    let answer = function.invoke(event).await;
    String::from_utf8(answer.unwrap_or_else(|error| panic!("{error}: {:?}", function.logs())))
        .expect("UTF-8")
}

/// How often each environment tries again is a matter of minutes, which its own test has; here is
/// how many attempts a flood of questions makes of it, counted by the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_tried_once_by_each_place_however_many_ask() {
    let mut world = World::start(Setup::desired(1).own_server().concurrency(TICKING)).await;
    let wrong = world.postgres.url("app", "not-the-password", &world.database);
    let secret = json!({ "DATABASE_URL": wrong, "FLEET_OPERATOR_TOKEN": TOKEN });
    world.double.put_secret(SECRET, &secret.to_string()).expect("kept");
    world.restart_function().await;
    let template = Template::read(GROUP).expect("the template is there");
    let settings = [
        ("AUTOSCALE_ASG_ENABLED", "true"),
        ("AWS_ASG_NAME", GROUP),
        ("GH_ENVIRONMENT", "test"),
        ("DATABASE_CA", world.postgres.ca_pem()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let status = template.start("fleet-status", &world.double, settings).await.expect("it starts");
    assert_eq!(status.config().concurrency, LOOKING);
    let headers = json!({ "headers": { "authorization": format!("Bearer {TOKEN}") } });
    let look = event("GET", "/api/v1/admin/fleet-status", headers).to_string();

    let asked = |log: &str| log.matches("FATAL:  password authentication failed").count();
    let before = asked(&world.postgres.log());
    let mut rounds = Vec::new();
    for _ in 0..20 {
        let ticks = std::array::from_fn::<_, TICKING, _>(|_| said(&world.function, SCHEDULE));
        let [one, two, three] = ticks;
        let looks = std::array::from_fn::<_, LOOKING, _>(|_| said(&status, look.as_bytes()));
        let [four, five] = looks;
        let (one, two, three, four, five) = tokio::join!(one, two, three, four, five);
        rounds.push([one, two, three, four, five]);
    }
    let places = usize::try_from(world.function.cold_starts() + status.cold_starts());
    let places = places.expect("a few");
    assert_eq!(places, TICKING + LOOKING);
    let attempts = asked(&world.postgres.log()) - before;
    assert_eq!(attempts, places, "of a hundred questions");
    assert!(attempts < BREAKER);

    for answer in rounds.iter().flatten() {
        assert!(answer.contains("password"), "{answer}");
        assert!(!answer.contains("not-the-password"), "{answer}");
    }
    for answer in rounds.last().expect("twenty") {
        assert!(answer.contains("not tried again for"), "it says why it does not ask: {answer}");
    }
    let decided: Value = serde_json::from_str(&rounds[0][0]).expect("JSON");
    assert_eq!(decided["decision"]["because"]["rule"], "queue_unknown", "{decided}");
}
