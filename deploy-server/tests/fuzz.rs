//! The fuzz targets' entry points on every run of the tests: each seed whole, cut, and changed in
//! every byte, and bytes that nobody chose. `fuzz/` runs the same functions for as long as one
//! likes.

#[path = "../fuzz/entry.rs"]
mod entry;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

type Entry = fn(&[u8]);

/// Bytes that mean something to one of the parsers.
const TELLING: [u8; 9] = [0, b'"', b'{', b'}', b'\n', b'\\', b'-', b'9', 0xff];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).expect("the seeds are there");
    let mut paths: Vec<_> = files.map(|file| file.expect("it can be read").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// Runs every seed, every beginning of it, and every one with one byte left out or replaced;
/// returns how many that were.
fn run(target: &str, entry: Entry) -> usize {
    let mut runs = 0;
    let mut once = |bytes: &[u8]| {
        entry(bytes);
        runs += 1;
    };
    for seed in seeds(target) {
        for at in 0..=seed.len() {
            once(&seed[..at]);
        }
        for at in 0..seed.len() {
            once(&[&seed[..at], &seed[at + 1..]].concat());
            let mut changed = seed.clone();
            for byte in TELLING {
                changed[at] = byte;
                once(&changed);
            }
        }
    }
    runs
}

#[test]
fn seeds_cut_and_changed_in_every_byte() {
    let targets: [(&str, Entry); 4] = [
        ("worker", entry::worker),
        ("docker_stream", entry::docker_stream),
        ("journal", entry::journal),
        ("host", entry::host),
    ];
    for (target, entry) in targets {
        let runs = run(target, entry);
        assert!(runs > 1000, "{target}: {runs} runs");
    }
}

proptest! {
    #[test]
    fn bytes_that_nobody_chose(bytes in vec(any::<u8>(), 0..400)) {
        entry::worker(&bytes);
        entry::docker_stream(&bytes);
        entry::journal(&bytes);
        entry::host(&bytes);
    }

    #[test]
    fn two_seeds_spliced(
        first in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
    ) {
        for (target, entry) in [
            ("journal", entry::journal as Entry),
            ("docker_stream", entry::docker_stream),
            ("host", entry::host),
        ] {
            let seeds = seeds(target);
            let (first, second) = (first.get(&seeds), second.get(&seeds));
            let (head, tail) = (cut.index(first.len()), from.index(second.len()));
            entry(&[&first[..head], &second[tail..]].concat());
        }
    }
}
