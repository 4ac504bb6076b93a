//! What the reader of the snapshot makes of any text: run by the tests and by `scripts/fuzz.sh`.

use super::document::{Document, ID_BYTES};
use super::layout::{self, ActivePlan, Columns, JobTables, TableLayout, WaitingIndex};
use super::names::Names;

/// Reads the text as the snapshot's answer, of tables with and without an index for active jobs.
/// Panics only where what it says of an answer does not hold.
pub fn read_any_rows(text: &str) {
    let Ok(names) = Names::new("pgboss", "gh_apply_job", "gh_worker_registry") else { return };
    for active in [ActivePlan::Scan, ActivePlan::Skip(layout::too_costly("pgboss.job"))] {
        let layout = TableLayout {
            version: 27,
            columns: Columns::Seconds,
            blocked: false,
            heartbeat: true,
            queue_table: true,
            policy: None,
            policy_readable: true,
            keys_readable: true,
            groups: true,
            job_id: true,
            waiting: WaitingIndex::ByTime,
            active,
            registry: Ok(()),
            registered_at: true,
            metadata: true,
            tables: JobTables::default(),
        };
        let Ok(document) = Document::parse(text) else { return };
        document.fits(&layout);
        let details = document.details();
        assert!(details.keys().all(|worker| worker.as_str().len() <= ID_BYTES));
        let Ok(snapshot) = document.into_snapshot(&names, &layout, true) else { continue };
        let targeted = snapshot.targeted.iter().map(|queue| &queue.worker);
        let workers = snapshot.workers.known().into_iter().flatten().map(|row| &row.worker);
        for worker in targeted.chain(workers) {
            let id = worker.as_str();
            assert!(id.len() <= ID_BYTES && !id.chars().any(char::is_control), "{id:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read_any_rows;

    const TELLING: [&str; 8] = ["", "\"", "{", "-", "9", "null", "1e999", "\u{1b}"];

    #[test]
    fn an_answer_cut_and_changed_in_every_byte_is_read_or_refused() {
        let seed = include_str!("../../../../deploy-server/fuzz/seeds/queue_rows/full");
        read_any_rows(seed);
        let places: Vec<usize> = seed.char_indices().map(|(at, _)| at).collect();
        for at in places {
            read_any_rows(&seed[..at]);
            for telling in TELLING {
                read_any_rows(&format!("{}{telling}{}", &seed[..at], &seed[at + 1..]));
            }
        }
    }
}
