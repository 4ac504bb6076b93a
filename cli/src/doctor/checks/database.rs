//! The database, by the address that the fleet uses: certificate, rights, pg-boss, registry.

use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use fleet_core::scaling::QueueSnapshot;
use fleet_protocol::reading::Reading;

const AREA: &str = "database";
const RIGHTS: &str = "psql \"$OWNER_URL\" -f docs/sql/role.sql";

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let mut found = vec![connection(facts)];
    let unread = |why: &str| {
        let names = ["rights", "pg-boss", "active index", "worker registry"];
        names.map(|name| Check::new(AREA, name, "the statement of a tick").not_checked(why))
    };
    if facts.database.probe.is_err() {
        found.extend(unread("the database let nobody in"));
        return found;
    }
    match &facts.database.view {
        Reading::Known(view) => found.extend(snapshot(&view.snapshot)),
        Reading::Unknown(why) => {
            let rights = Check::new(AREA, "rights", "the statement of a tick");
            found.push(rights.fault(&why.detail, RIGHTS));
            found.extend(unread(&why.detail).into_iter().skip(1));
        }
    }
    found
}

fn connection(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "connection", facts.database.from.clone());
    match &facts.database.probe {
        Ok(()) => check.ok("it answers, its certificate is trusted, and the user is let in"),
        Err(failure) if failure.answered => {
            let secret = facts.names.fleet_secret.as_deref().unwrap_or("SECRET");
            let fix = format!(
                "aws secretsmanager put-secret-value --secret-id {secret} --secret-string \
                 file://secret.json"
            );
            check.fault(&failure.why.detail, fix)
        }
        Err(failure) => check.not_checked(&failure.why.detail),
    }
}

fn snapshot(seen: &QueueSnapshot) -> Vec<Diagnosis> {
    let check = |name| Check::new(AREA, name, "the statement of a tick");
    let rights = check("rights").ok("the role counts jobs, and row-level security hides none");
    let version = seen.schema.version;
    let pgboss = if seen.schema.tested {
        check("pg-boss").ok(format!("schema {version}"))
    } else {
        let finding = format!("schema {version} is newer than this version was tested with");
        check("pg-boss").warning(finding, "ghfleet explain --now")
    };
    let index = match &seen.general.active {
        Reading::Known(_) => check("active index").ok("running jobs are counted"),
        Reading::Unknown(why) => check("active index")
            .warning(&why.detail, "psql \"$OWNER_URL\" -f docs/sql/active-index.sql"),
    };
    let registry = match &seen.workers {
        Reading::Known(rows) => check("worker registry").ok(format!("{} rows", rows.len())),
        Reading::Unknown(why) => check("worker registry").fault(&why.detail, RIGHTS),
    };
    let mut found = vec![rights, pgboss, index, registry];
    if seen.unreadable.rows > 0 {
        let finding = format!(
            "{} rows have dates that are none: {}",
            seen.unreadable.rows,
            seen.unreadable.examples.join(", ")
        );
        found.push(check("dates").warning(finding, "ghfleet explain --now"));
    }
    found
}
