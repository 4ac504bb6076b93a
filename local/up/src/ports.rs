//! Ports that stay ours while nobody listens on them: a service that is replaced gets its own port
//! back.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use crate::Error;

/// A TCP port of 127.0.0.1 that the kernel hands to nobody else who asks for any port, until this
/// is dropped. Whoever asks for it by its number (with SO_REUSEADDR, as servers do) may listen on
/// it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Bound, and never listening.
    _held: OwnedFd,
}

impl Port {
    /// Finds one and keeps it.
    ///
    /// # Errors
    /// When no port is free.
    pub fn reserve() -> Result<Self, Error> {
        let failed = |errno: rustix::io::Errno| Error::io("reserve a port")(errno.into());
        let kind = (AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC);
        let held = socket_with(kind.0, kind.1, kind.2, None).map_err(failed)?;
        sockopt::set_socket_reuseaddr(&held, true).map_err(failed)?;
        bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = SocketAddr::try_from(getsockname(&held).map_err(failed)?).map_err(failed)?;
        Ok(Self { number: address.port(), _held: held })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::Port;

    #[test]
    fn a_reserved_port_is_listened_on_again_and_again_and_given_to_nobody_else() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
            let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
            // Closed by the server first, so that its side lingers.
            drop(server.accept().unwrap());
            drop((server, client));
        }
        let others: Vec<_> = (0..500).map(|_| Port::reserve().unwrap()).collect();
        let numbers: BTreeSet<u16> = others.iter().map(Port::number).collect();
        assert!(!numbers.contains(&port.number()));
        assert_eq!(numbers.len(), others.len());
    }
}
