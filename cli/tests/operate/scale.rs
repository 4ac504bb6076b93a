use crate::fixture::{old, whole};
use crate::support::{Act, Server, problem};
use serde_json::json;

#[test]
fn without_a_wish_it_shows_what_is() {
    let ran = Server::always(|| Act::Json(200, json!(whole()))).run(&["scale"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.out,
        "capacity   3 desired, 2 in service, 1 pending, 1 draining; minimum 1, maximum 10\n\
         override   floor: at least 3 workers until 2026-11-25T20:00:00Z\n\
         override   paused: no change of capacity until 2026-11-25T09:00:00Z\n\
         override   the group's processes AZRebalance are suspended\n"
    );
    let ran = Server::always(|| Act::Json(200, old())).run(&["scale"]);
    assert!(ran.out.starts_with("capacity   3 desired\noverride   unknown\n"), "{}", ran.out);
}

#[test]
fn a_wish_is_what_the_api_takes() {
    let now = || Act::Json(200, json!({ "floor": { "workers": 5, "until": "U" }, "paused": null }));
    for (arguments, body) in [
        (
            &["--floor", "5", "--for", "2h"][..],
            json!({ "floor": { "workers": 5, "for_minutes": 120 } }),
        ),
        (
            &["--pause", "--floor", "0", "--until", "2026-11-24T08:00:00Z"],
            json!({
                "floor": { "workers": 0, "expires_at": "2026-11-24T08:00:00Z" },
                "paused": { "expires_at": "2026-11-24T08:00:00Z" },
            }),
        ),
        (
            &["--no-floor", "--pause", "--for", "30m"],
            json!({ "floor": null, "paused": { "for_minutes": 30 } }),
        ),
        (&["--no-pause"], json!({ "paused": null })),
    ] {
        fleet_core::status::CapacityWish::parse(body.to_string().as_bytes()).unwrap();
        let server = Server::always(now);
        let ran = server.run(&[&["scale"], arguments].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert_eq!(ran.out, "override   floor: at least 5 workers until U\n");
        let request = &server.requests()[0];
        assert_eq!(request.line, "PUT /api/v1/admin/capacity");
        assert_eq!(request.body, body);
    }
}

#[test]
fn nothing_in_force_is_said_and_json_is_as_it_came() {
    let none = || Act::Json(200, json!({ "floor": null, "paused": null }));
    let ran = Server::always(none).run(&["scale", "--no-floor"]);
    assert_eq!(ran.out, "override   none\n");
    let ran = Server::always(none).run(&["scale", "--no-floor", "--json"]);
    assert_eq!(ran.out, "{\"floor\":null,\"paused\":null}\n");
}

#[test]
fn a_wish_without_its_end_or_two_at_once_is_no_wish() {
    let server = Server::always(|| Act::HangUp);
    for wrong in [
        &["--floor", "5"][..],
        &["--pause"],
        &["--for", "2h"],
        &["--floor", "5", "--for", "2h", "--until", "2026-11-24T08:00:00Z"],
        &["--floor", "5", "--no-floor", "--for", "2h"],
        &["--floor", "-1", "--for", "2h"],
        &["--floor", "5", "--for", "2"],
    ] {
        let ran = server.run(&[&["scale"], wrong].concat());
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{wrong:?}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn a_refused_wish_names_its_field() {
    let server = Server::always(|| {
        let Act::Json(status, mut body) = problem(400, "is above the maximum of 10") else {
            unreachable!()
        };
        body["field"] = json!("floor.workers");
        Act::Json(status, body)
    });
    let ran = server.run(&["scale", "--floor", "50", "--for", "1h"]);
    assert_eq!(ran.code, 12);
    assert_eq!(ran.err, "ghfleet: refused (400): floor.workers: is above the maximum of 10\n");
}
