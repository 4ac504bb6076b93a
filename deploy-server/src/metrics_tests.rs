use super::*;
use proptest::prelude::*;

const STAT: &str = "cpu  100 5 50 800 40 1 2 2 7 7\ncpu0 50 2 25 400 20 0 1 1 0 0\ncpu1 50 3 25 400 20 1 1 1 0 0\nintr 1 2\nctxt 3\n";
const DEV: &str = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:  999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n  ens5: 1000 9 0 0 0 0 0 0 500 4 0 0 0 0 0 0\ndocker0: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\nveth1a2: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
const DISKSTATS: &str = " 259 0 nvme0n1 10 0 100 5 20 0 200 9 0 1 1 0 0 0 0 0 0\n 259 1 nvme0n1p1 10 0 100 5 20 0 200 9 0 1 1 0 0 0 0 0 0\n   8 0 sda 1 0 2 0 1 0 4 0 0 0 0\n   8 1 sda1 1 0 2 0 1 0 4 0 0 0 0\n   7 0 loop0 1 0 2 0 1 0 4 0 0 0 0\n";

#[test]
fn processor_time_leaves_out_the_guest_fields() {
    let cpu = CpuTime::parse(STAT).expect("a stat file");
    assert_eq!(cpu, CpuTime { total: 1000, idle: 840, cores: 2 });
}

#[test]
fn usage_is_the_share_that_was_not_idle() {
    let before = CpuTime { total: 1000, idle: 840, cores: 2 };
    let busy = |total, idle| CpuTime { total, idle, cores: 2 }.used_since(&before);
    assert_eq!(busy(1200, 890), Some(75.0));
    assert_eq!(busy(1200, 1040), Some(0.0));
    // The kernel's idle counter may step back.
    assert_eq!(busy(1200, 800), Some(100.0));
    assert_eq!(busy(1000, 840), None);
    assert_eq!(busy(5, 1), None);
}

#[test]
fn interfaces_of_the_host_itself_are_left_out() {
    let counters = interfaces(DEV).expect("a dev file");
    assert_eq!(counters, BTreeMap::from([("ens5".to_owned(), (1000, 500))]));
}

#[test]
fn disks_are_counted_once() {
    let counters = disks(DISKSTATS).expect("a diskstats file");
    assert_eq!(
        counters,
        BTreeMap::from([
            ("nvme0n1".to_owned(), (51_200, 102_400)),
            ("sda".to_owned(), (1024, 2048))
        ])
    );
}

#[test]
fn rates_are_per_second_and_a_counter_that_steps_back_is_still() {
    let at = |eth: (u64, u64), wlan: (u64, u64)| {
        BTreeMap::from([("eth0".to_owned(), eth), ("wlan0".to_owned(), wlan)])
    };
    let before = at((1000, 100), (5_000, 5_000));
    let now = at((3000, 1100), (10, 10));
    assert_eq!(rate(&before, &now, 2.0), Some((1000, 500)));
    assert_eq!(rate(&before, &now, 0.0), None);
    assert_eq!(rate(&BTreeMap::new(), &now, 1.0), Some((0, 0)));
}

#[test]
fn memory_is_by_what_is_available() {
    let text =
        "MemTotal:       2048000 kB\nMemFree:          10240 kB\nMemAvailable:   1024000 kB\n";
    let memory = memory(text).expect("a meminfo file");
    assert_eq!((memory.used_mb, memory.total_mb, memory.usage_percent), (1000, 2000, 50.0));
    assert_eq!(super::memory("MemTotal: 1 kB\n"), None);
    assert_eq!(super::memory("MemTotal: x kB\nMemAvailable: 1 kB\n"), None);
}

#[test]
fn rubbish_is_unknown_and_not_zero() {
    for text in [
        "",
        "cpu ",
        "cpu  1 2 3",
        "cpu  a b c d e f g h",
        "cpu  18446744073709551615 1 1 1 1 1 1 1",
    ] {
        assert_eq!(CpuTime::parse(text), None, "{text:?}");
    }
    assert_eq!(load_average("0.1 0.2"), None);
    assert_eq!(load_average("NaN 0 0"), None);
    assert_eq!(load_average("0.10 0.20 0.30 1/100 5"), Some([0.1, 0.2, 0.3]));
    assert_eq!(interfaces("a\nb\nno colon\n"), None);
    assert_eq!(interfaces("a\nb\neth0: 1 2 3\n"), None);
    assert_eq!(disks("8 0 sda 1 2\n"), None);
}

#[test]
fn this_host_is_read_as_it_is() {
    let sampler = Sampler::new();
    let first = sampler.read();
    assert_eq!(first.cpu.usage_percent, None, "no rate without a second sample");
    std::thread::sleep(SHORTEST);
    let second = sampler.read();
    let usage = second.cpu.usage_percent.expect("a second apart");
    assert!((0.0..=100.0).contains(&usage));
    assert_eq!(second.cpu.cores, std::thread::available_parallelism().ok().map(usize::from));
    let disk = second.disk.expect("a root file system");
    assert!(disk.total_gb > 0.0 && disk.used_gb <= disk.total_gb);
    assert!(second.network.is_some());
}

#[test]
fn samples_do_not_pile_up() {
    let sampler = Sampler::new();
    for _ in 0..20 {
        sampler.tick();
    }
    assert_eq!(sampler.samples.lock().expect("unpoisoned").len(), REMEMBERED);
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "(cpu|MemTotal|eth0|nvme0n1p|[0-9 :\n.]|\\PC)*") {
        let _parsed = (CpuTime::parse(&text), interfaces(&text), disks(&text));
        let _parsed = (load_average(&text), memory(&text));
    }
}
