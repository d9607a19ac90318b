//! Keeps submissions away from ports that are not meant for them.
//!
//! What listens on loopback can be reached by every process of the machine. Where submissions have users of their own, the
//! kernel's tables of TCP sockets tell whether one of them is on the other end of a connection.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;

use crate::runner::UserRange;

/// Decides whose connections are served, before anything that they send is read. Clones share what was logged.
#[derive(Debug, Clone)]
pub struct Door(Option<Arc<Closed>>);

#[derive(Debug)]
struct Closed {
    users: UserRange,
    /// Looking at the tables takes milliseconds of the kernel's: whoever connects over and over takes one core at most.
    looking: tokio::sync::Mutex<()>,
    /// Of whom the log has told: a submission must not fill it.
    told: Mutex<BTreeSet<Option<u32>>>,
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it belongs to user {0}, a submission's: submissions are kept out")]
    Submission(u32),
    #[error("it comes from this machine and nobody holds it any more")]
    Abandoned,
    #[error("the kernel does not say whose it is: {0}; without --submission-users nobody asks")]
    Unknown(#[from] io::Error),
}

impl Door {
    /// Everybody is served.
    pub fn open() -> Self {
        Door(None)
    }

    /// Everybody is served but processes of these users on this machine. Linux only.
    pub fn closed_to(users: UserRange) -> Self {
        Door(Some(Arc::new(Closed { users, looking: tokio::sync::Mutex::default(), told: Mutex::default() })))
    }
}

impl http_serve::Door for Door {
    /// A connection whose owner cannot be told is not served unless it comes from another machine.
    async fn lets_in(&self, stream: &TcpStream) -> bool {
        let Some(closed) = &self.0 else { return true };
        match closed.check(stream).await {
            Ok(()) => true,
            Err(refusal) => {
                closed.tell(stream, &refusal);
                false
            }
        }
    }
}

impl Closed {
    async fn check(&self, stream: &TcpStream) -> Result<(), Refusal> {
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        let _one_at_a_time = self.looking.lock().await;
        let looked = tokio::task::spawn_blocking(move || owner(peer, local));
        match looked.await.map_err(io::Error::other)?? {
            Some(user) if self.users.contains(user) => Err(Refusal::Submission(user)),
            Some(_) => Ok(()),
            None if is_of_this_machine(peer) => Err(Refusal::Abandoned),
            None => Ok(()),
        }
    }

    fn tell(&self, stream: &TcpStream, refusal: &Refusal) {
        let user = if let Refusal::Submission(user) = refusal { Some(*user) } else { None };
        let port = stream.local_addr().map_or(0, |address| address.port());
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(user) {
            tracing::warn!(port, user, %refusal, "a connection to port {port} was refused, and others like it will be: {refusal}");
        } else {
            tracing::debug!(port, user, %refusal, "a connection to port {port} was refused: {refusal}");
        }
    }
}

const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The user on whose behalf a process of this machine holds the other end of a connection.
fn owner(peer: SocketAddr, local: SocketAddr) -> io::Result<Option<u32>> {
    for table in TABLES {
        let text = match fs::read_to_string(table) {
            Ok(text) => text,
            // a kernel may be without one of the two
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Some(user) = text.lines().skip(1).find_map(|line| owner_in(line, peer, local)) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// The user of a line, when it is about the socket whose own address is `peer` and which is connected to `local`. A socket
/// that no process holds any more is shown as the superuser's, whoever made it: nobody owns it.
fn owner_in(line: &str, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let is = |field: &str, address: SocketAddr| {
        read_address(field) == Some((address.ip().to_canonical(), address.port()))
    };
    if !is(fields.next()?, peer) || !is(fields.next()?, local) {
        return None;
    }
    let (user, inode) = (fields.nth(4)?.parse().ok()?, fields.nth(1)?);
    (inode != "0").then_some(user)
}

/// An address as the tables have it: words of 32 bits in the machine's order, in hexadecimal.
fn read_address(field: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = field.split_once(':')?;
    let mut bytes = [0; 16];
    for (at, word) in bytes.chunks_mut(4).enumerate().take(address.len() / 8) {
        word.copy_from_slice(&u32::from_str_radix(address.get(8 * at..8 * at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match address.len() {
        8 => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
        32 => IpAddr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// Only addresses of this machine can be bound here.
fn is_of_this_machine(mut address: SocketAddr) -> bool {
    address.set_port(0);
    !matches!(UdpSocket::bind(address), Err(error) if error.kind() == ErrorKind::AddrNotAvailable)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use http_serve::Door as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn connection(listen: &str, connect: &str) -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(listen).await?;
        let port = listener.local_addr()?.port();
        let client = TcpStream::connect(format!("{connect}:{port}")).await?;
        Ok((client, listener.accept().await?.0))
    }

    fn closed_to(user: u32) -> Door {
        Door::closed_to(UserRange { first: user, last: user })
    }

    fn own_user() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[tokio::test]
    async fn a_user_who_is_kept_out_is_refused_on_every_address_and_others_are_served() {
        for (listen, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.8.8.8"),
            ("[::1]:0", "[::1]"),
            ("127.0.0.1:0", "[::ffff:127.0.0.1]"),
        ] {
            let (_client, server) = connection(listen, connect).await.unwrap();
            assert!(!closed_to(own_user()).lets_in(&server).await, "{listen} {connect}");
            assert!(closed_to(own_user() + 1).lets_in(&server).await, "{listen} {connect}");
            assert!(Door::open().lets_in(&server).await);
        }
    }

    /// Else a submission would send its words, leave at once, and be taken for the superuser.
    #[tokio::test]
    async fn a_connection_that_was_left_before_anybody_looked_is_refused() {
        let (client, server) = connection("127.0.0.1:0", "127.0.0.1").await.unwrap();
        client.try_write(b"GET /condor HTTP/1.1\r\n").unwrap();
        drop(client);
        assert!(!closed_to(own_user() + 1).lets_in(&server).await);
    }

    const MINE: &str = " 7: 0100007F:1F90 0100007F:2383 01 00000000:00000000 00:00000000 00000000 70003        0 4711 1 0 20 4 1 10 -1";

    #[test]
    fn the_owner_is_that_of_the_other_end_and_of_a_socket_that_somebody_holds() {
        let (peer, local) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:9091".parse().unwrap());
        assert_eq!(owner_in(MINE, peer, local), Some(70_003));
        assert_eq!(owner_in(MINE, local, peer), None, "our own end");
        assert_eq!(owner_in(&MINE.replace("4711", "0"), peer, local), None, "nobody holds it");
        for cut in ["", "7:", "7: 0100007F", "7: x:y 0100007F:2383", &MINE[..60]] {
            assert_eq!(owner_in(cut, peer, local), None, "{cut}");
        }
        let mapped = MINE.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(owner_in(&mapped, peer, local), Some(70_003));
    }

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        for own in ["127.0.0.1:80", "127.3.2.1:80"] {
            assert!(is_of_this_machine(own.parse().unwrap()), "{own}");
        }
        assert!(!is_of_this_machine("192.0.2.1:80".parse().unwrap()));
    }
}
