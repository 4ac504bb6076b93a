use crate::fixture::{old, partial, whole};
use crate::support::{Act, Server, ghfleet, run};
use serde_json::{Value, json};

fn cost(args: &[&str]) -> String {
    let ran = run(ghfleet(&["cost"]).args(args));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.out
}

#[test]
fn a_month_is_shown_for_several_numbers_of_instances() {
    let text = cost(&[]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_guides_totals_come_out_of_its_prices() {
    let document: Value = serde_json::from_str(&cost(&["--json"])).expect("JSON");
    let month = |at: usize| {
        let month = &document["months"][at];
        month["month"].as_f64().expect("a sum") - month["control_plane"].as_f64().expect("a sum")
    };
    // "Idle (min=1) ~$67", "Average (2-3) ~$130-190", "Peak (10) ~$640"
    let months = [month(0), month(1), month(2), month(4)].map(|month| format!("{month:.0}"));
    assert_eq!(months, ["67", "131", "195", "643"]);
}

#[test]
fn other_types_regions_and_disks_have_their_prices() {
    let args = ["--instances", "4", "--hourly", "0.1", "--disk-gb", "100", "--gb-month", "0.1"];
    let text = cost(&[&args[..], &["--json", "--tick-seconds", "60"]].concat());
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let month = &document["months"][0];
    assert_eq!((&month["compute"], &month["disks"]), (&json!(292.0), &json!(40.0)));
    assert_eq!((&month["hour"], &month["snapshot"]), (&json!(0.4), &json!(10.0)));
    let double = cost(&["--instances", "1", "--type", "t3.xlarge", "--json"]);
    assert!(double.contains("121.47"), "{double}");
}

#[test]
fn a_price_that_is_none_names_what_to_write() {
    for (option, price) in [("--hourly", "8 cents"), ("--gb-month", "-1"), ("--hourly", "2000")] {
        let ran = run(&mut ghfleet(&["cost", &format!("{option}={price}")]));
        assert_eq!(ran.code, 64, "{price}");
        assert!(ran.err.contains("such as 0.0832") && ran.err.contains(option), "{}", ran.err);
    }
    let ran = run(&mut ghfleet(&["cost", "--disk-gb", "16384", "--gb-month", "1000"]));
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("--disk-gb"), "{}", ran.err);
    let ran = run(&mut ghfleet(&["cost", "--live", "--instances", "5"]));
    assert_eq!(ran.code, 64);
}

#[test]
fn live_shows_the_stacks_own_instances_and_prices() {
    let ran = Server::always(|| Act::Json(200, json!(whole()))).run(&["cost", "--live"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
    let ran = Server::always(|| Act::Json(200, json!(whole()))).run(&["cost", "--live", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(document, json!(whole())["cost"]);
}

#[test]
fn what_a_stack_does_not_know_is_unknown_and_not_nothing() {
    for status in [json!(partial()), old()] {
        let known = !status["cost"].is_null();
        let ran = Server::always(move || Act::Json(200, status.clone())).run(&["cost", "--live"]);
        assert_eq!(ran.out.contains("unknown"), !known, "{}", ran.out);
    }
}
