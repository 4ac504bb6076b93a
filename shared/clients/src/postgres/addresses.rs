//! A host name with several addresses: one that swallows packets must not hide one that answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// After this long without an answer the next address is tried beside the ones before it (RFC 8305
/// recommends 250 ms).
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// The most addresses of one name that are tried; ten of them have had their turn after 2.25 s.
const ADDRESSES: usize = 10;

/// No address of a name took a connection.
#[derive(Debug, Default)]
pub struct NoAddressAnswers {
    /// The ones that refused it or could not be reached, and why.
    pub refused: Vec<(SocketAddr, io::Error)>,
    /// The ones that did not answer within the limit.
    pub silent: Vec<SocketAddr>,
    pub limit: Duration,
}

/// A connection to the first of `addresses` that takes one, within `limit`. Each address is tried
/// in its turn and keeps its attempt while the next ones are tried.
pub(super) async fn first_to_answer(
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> Result<TcpStream, NoAddressAnswers> {
    let deadline = Instant::now() + limit;
    let mut untried = by_turns(addresses).into_iter();
    let mut attempts = JoinSet::new();
    let mut failed = NoAddressAnswers { limit, ..NoAddressAnswers::default() };
    loop {
        if let Some(address) = untried.next() {
            failed.silent.push(address);
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let next = match untried.len() {
            0 => deadline,
            _ => deadline.min(Instant::now() + NEXT_AFTER),
        };
        match timeout_at(next, attempts.join_next()).await {
            Ok(Some(Ok((_, Ok(socket))))) => return Ok(socket),
            Ok(Some(Ok((address, Err(error))))) => {
                failed.silent.retain(|silent| *silent != address);
                failed.refused.push((address, error));
            }
            // Nothing is under way any more.
            Ok(None) if untried.len() == 0 => return Err(failed),
            // Attempts are neither cancelled nor do they panic.
            Ok(Some(Err(_)) | None) => {}
            Err(_) if Instant::now() >= deadline => return Err(failed),
            Err(_) => {}
        }
    }
}

/// IPv6 and IPv4 by turns, beginning with the family that the resolver prefers: where one of them
/// does not get through at all, the other has its turn second.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let mut other = other.into_iter();
    let mut turns = Vec::new();
    for address in preferred {
        turns.push(address);
        turns.extend(other.next());
    }
    turns.extend(other);
    turns.truncate(ADDRESSES);
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    /// A listener that takes no connection: its backlog is full, so the kernel swallows whatever
    /// comes. With the sockets that fill it.
    async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let listener = socket.listen(1).expect("listens");
        let address = listener.local_addr().expect("an address");
        let mut fill = Vec::new();
        while let Ok(taken) =
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            fill.push(taken.expect("loopback"));
        }
        (address, listener, fill)
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_does_not_hide_one_that_answers() {
        let (hole, _listener, _fill) = black_hole().await;
        let alive = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let alive = (alive.local_addr().expect("an address"), alive);
        let socket = first_to_answer(vec![hole, alive.0], Duration::from_secs(30)).await;
        assert_eq!(socket.expect("connected").peer_addr().expect("a peer"), alive.0);
    }

    #[tokio::test]
    async fn every_address_that_failed_is_named() {
        let (hole, _listener, _fill) = black_hole().await;
        let once = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let closed = once.local_addr().expect("an address");
        drop(once);
        let failed = first_to_answer(vec![hole, closed], Duration::from_millis(600)).await;
        let failed = failed.expect_err("nobody answers");
        assert_eq!(failed.silent, [hole]);
        assert_eq!(
            failed.refused.iter().map(|(address, _)| *address).collect::<Vec<_>>(),
            [closed]
        );
        let none = first_to_answer(vec![], Duration::from_secs(1)).await.expect_err("no address");
        assert!(none.silent.is_empty() && none.refused.is_empty());
    }

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let v6 = ["[::1]:1", "[::2]:1", "[::3]:1"].map(parse);
        let v4 = ["1.1.1.1:1"].map(parse);
        let turns = by_turns([&v6[..], &v4[..]].concat());
        assert_eq!(turns, [v6[0], v4[0], v6[1], v6[2]]);
        let many: Vec<SocketAddr> = (0..1000).map(|n| ([10, 0, 0, 1], n).into()).collect();
        assert_eq!(by_turns(many).len(), ADDRESSES);
    }
}
