//! What a worker reads from its database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// Stands between a worker and a PostgreSQL server and counts what the server says.
pub struct Counted {
    /// The address to be used in place of the server's.
    pub url: String,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// For the server at `url`, until this process ends.
    pub async fn start(url: &str) -> Result<Self> {
        let options: PgConnectOptions = url.parse()?;
        let server = (options.get_host().to_owned(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let options = options.host("127.0.0.1").port(listener.local_addr()?.port());
        let bytes = Arc::new(AtomicU64::new(0));
        tokio::spawn(pass_on(listener, server, Arc::clone(&bytes)));
        Ok(Counted { url: options.to_url_lossy().to_string(), bytes })
    }

    /// What was said so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

async fn pass_on(listener: TcpListener, server: (String, u16), bytes: Arc<AtomicU64>) -> Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        let connection = connect(client, TcpStream::connect(&server).await?, Arc::clone(&bytes));
        tokio::spawn(connection);
    }
}

/// Passes on what both say until one of them has no more to say.
async fn connect(mut client: TcpStream, mut server: TcpStream, bytes: Arc<AtomicU64>) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let questions = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let answers = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return to_client.shutdown().await;
            }
            bytes.fetch_add(count as u64, Ordering::Relaxed);
            to_client.write_all(&buffer[..count]).await?;
        }
    };
    tokio::try_join!(questions, answers)?;
    Ok(())
}
