//! A line to another server that a test can make bad.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::port::{Port, Scope};

/// How a line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Everything goes through.
    Up,
    /// Connections are taken, and all bytes are swallowed. A connection that has lost a byte stays dead for ever, as after
    /// the loss of a network path.
    Silent,
    /// Each connection is cut after so many more bytes in either direction.
    Cuts(usize),
}

/// Passes TCP connections on to another server.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    upstream: SocketAddr,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// A line to `upstream` that is up, on a free port.
    pub async fn start(upstream: SocketAddr) -> Self {
        let line = watch::Sender::new(Line::Up);
        let port = Port::open(server(upstream, &line)).await;
        Proxy { port, upstream, line }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Does so from now on, with connections that there are too.
    pub fn switch(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Cuts every connection and refuses new ones.
    pub async fn refuse(&self) {
        self.port.close().await;
    }

    /// Listens again after [`Proxy::refuse`].
    pub async fn listen(&self) {
        self.port.reopen(server(self.upstream, &self.line)).await;
    }
}

fn server(
    upstream: SocketAddr,
    line: &watch::Sender<Line>,
) -> impl Fn(TcpStream, Scope) -> futures::future::BoxFuture<'static, ()> + Send + 'static {
    let line = line.subscribe();
    move |stream, _| Box::pin(pass_on(stream, upstream, line.clone()))
}

/// Ends with the first direction that ends.
async fn pass_on(mut client: TcpStream, upstream: SocketAddr, line: watch::Receiver<Line>) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    // What a small write waits for otherwise would be taken for the line's slowness.
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = pump(from_client, to_server, line.clone()) => {}
        () = pump(from_server, to_client, line) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: watch::Receiver<Line>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let (mut is_dead, mut passed) = (false, 0);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let line = *line.borrow();
        is_dead |= line == Line::Silent;
        if is_dead {
            continue;
        }
        let room = match line {
            Line::Cuts(after) => count.min(after.saturating_sub(passed)),
            Line::Up | Line::Silent => count,
        };
        passed += if line == Line::Up { 0 } else { room };
        if to.write_all(&buffer[..room]).await.is_err() || room < count {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    /// What comes back, as far as anything comes within a while.
    async fn say(stream: &mut TcpStream, text: &str) -> Option<String> {
        stream.write_all(text.as_bytes()).await.ok()?;
        let mut heard = vec![0; 100];
        let reading = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut heard));
        let count = reading.await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&heard[..count]).into_owned())
    }

    #[tokio::test]
    async fn a_line_is_up_silent_cut_or_refused() {
        let proxy = Proxy::start(echo().await).await;
        let connect = || TcpStream::connect(proxy.address());
        let mut first = connect().await.unwrap();
        assert_eq!(say(&mut first, "up").await.as_deref(), Some("up"));

        proxy.switch(Line::Silent);
        assert_eq!(say(&mut first, "lost").await, None);
        let mut second = connect().await.unwrap();
        assert_eq!(say(&mut second, "lost").await, None);
        proxy.switch(Line::Up);
        assert_eq!(say(&mut first, "dead").await, None, "a path that was lost does not come back");
        let mut third = connect().await.unwrap();
        assert_eq!(say(&mut third, "up").await.as_deref(), Some("up"));

        proxy.switch(Line::Cuts(3));
        assert_eq!(say(&mut third, "cut here").await.as_deref().unwrap_or(""), "");
        proxy.refuse().await;
        assert!(connect().await.is_err());
        proxy.switch(Line::Up);
        proxy.listen().await;
        let mut fourth = connect().await.unwrap();
        assert_eq!(say(&mut fourth, "up").await.as_deref(), Some("up"));
    }
}
