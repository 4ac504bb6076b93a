//! Who listens on a port: the kernel's own word, from `/proc`.
//!
//! On host networking a health check can be answered by the wrong container, so the gate asks whose
//! socket it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The kernel pads each line of a table to this many bytes. Asked for one line at a time, it looks
/// for no connection while it still lists listeners; asked for a page, it walks its whole table of
/// connections, which takes milliseconds.
const LINE: usize = 150;

/// The sockets that listen on a port, and the processes that hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    pub sockets: BTreeSet<u64>,
}

/// Inodes of the sockets that listen on `port`, on any address, IPv4 and IPv6.
#[must_use]
pub fn on_port(port: u16) -> Listeners {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let sockets = tables
        .iter()
        .filter_map(|table| fs::File::open(table).ok())
        .flat_map(|table| read_table(BufReader::with_capacity(LINE, table), port))
        .collect();
    Listeners { sockets }
}

/// Reads a table of `/proc/net/tcp`'s form up to its first connection: "It will first list all
/// listening TCP sockets, and next list all established TCP connections" (Linux,
/// Documentation/networking/proc_net_tcp.rst). Lines of any other form are passed over.
#[must_use]
pub fn read_table(table: impl BufRead, port: u16) -> Vec<u64> {
    table
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| parse_line(&line))
        .take_while(|socket| socket.state == LISTEN)
        .filter_map(|socket| (socket.port == port).then_some(socket.inode))
        .collect()
}

const LISTEN: u8 = 0x0A;

struct Socket {
    port: u16,
    state: u8,
    inode: u64,
}

fn parse_line(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    Some(Socket {
        port: u16::from_str_radix(port, 16).ok()?,
        state: u8::from_str_radix(state, 16).ok()?,
        inode: inode.parse().ok()?,
    })
}

/// `root` and everything that descends from it.
#[must_use]
pub fn process_tree(root: u32) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in processes() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = BTreeSet::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        if tree.insert(pid) {
            open.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    tree
}

/// True when at least one socket listens on the port and every one of them is held by a process of
/// the tree under `root`.
#[must_use]
pub fn belongs_to(port: u16, root: u32) -> bool {
    let listeners = on_port(port);
    if listeners.sockets.is_empty() || root == 0 {
        return false;
    }
    let mut held = BTreeSet::new();
    // Nearly always the first process holds them all; its tree is only walked when it does not.
    held.extend(sockets_of(root));
    if !listeners.sockets.is_subset(&held) {
        for pid in process_tree(root) {
            held.extend(sockets_of(pid));
        }
    }
    listeners.sockets.is_subset(&held)
}

/// The first process found that holds a listener of `port`.
#[must_use]
pub fn owner_of(port: u16) -> Option<u32> {
    let listeners = on_port(port);
    if listeners.sockets.is_empty() {
        return None;
    }
    processes().find(|pid| sockets_of(*pid).iter().any(|inode| listeners.sockets.contains(inode)))
}

/// True while there is a process of that number.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// A process by name, for messages.
#[must_use]
pub fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    parse_parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The parent's id in `/proc/<pid>/stat`. The command comes before it, in parentheses, and may hold
/// anything.
#[must_use]
pub fn parse_parent(stat: &str) -> Option<u32> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn sockets_of(pid: u32) -> Vec<u64> {
    let folder = format!("/proc/{pid}/fd");
    fs::read_dir(Path::new(&folder))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{belongs_to, on_port, owner_of, parse_parent, read_table};

    #[test]
    fn a_table_is_read_as_far_as_it_lists_listeners() {
        let line = |port: &str, state: &str, inode: u64| {
            format!(
                "   0: 00000000:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 \
                    0        0 {inode} 1 0\n"
            )
        };
        let text =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid \
                    timeout inode\n"
                .to_owned()
                + &line("0C1C", "0A", 4711)
                + &line("0C1D", "0A", 4712)
                + &line("0C1C", "0A", 4713)
                + &line("0C1C", "01", 4714)
                + &line("0C1C", "0A", 4715);
        assert_eq!(read_table(text.as_bytes(), 3100), [4711, 4713]);
        assert_eq!(read_table(text.as_bytes(), 3101), [4712]);
        assert_eq!(read_table(text.as_bytes(), 3102), Vec::<u64>::new());
        assert_eq!(read_table(&b"rubbish\n: : :\n"[..], 3100), Vec::<u64>::new());
    }

    #[test]
    fn a_command_with_parentheses_does_not_confuse() {
        assert_eq!(parse_parent("12 (a) b) c) S 7 12 12 0"), Some(7));
        assert_eq!(parse_parent("12 nothing"), None);
    }

    #[test]
    fn a_listener_is_traced_to_its_process_and_to_no_other() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(on_port(port).sockets.len(), 1);
        assert!(belongs_to(port, std::process::id()));
        assert!(!belongs_to(port, 2_000_000_000));
        assert_eq!(owner_of(port), Some(std::process::id()));
        drop(socket);
        assert!(!belongs_to(port, std::process::id()));
    }
}
