//! A small HTTP server on loopback that answers as a test says, byte for byte where that matters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Question {
    /// A parameter that has to be there.
    pub fn parameter(&self, name: &str) -> &str {
        let found = self.query.iter().find(|(key, _)| key == name);
        &found.unwrap_or_else(|| panic!("{name} in {self:?}")).1
    }

    fn read(head: &str) -> Question {
        let mut lines = head.lines();
        let target = lines.next().unwrap().split(' ').nth(1).unwrap();
        let url = reqwest::Url::parse(&format!("http://server{target}")).unwrap();
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Question {
            path: url.path().to_owned(),
            query: url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
            headers: lines.filter_map(header).collect(),
        }
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

/// What comes after the body.
#[derive(Debug, Clone)]
enum End {
    /// It is whole.
    Whole,
    /// There should have been more of it.
    Cut,
    /// Nothing, and the connection stays.
    Hang,
    /// What the test says, piece by piece, until it hangs up.
    Stream(watch::Receiver<Vec<String>>),
}

impl Reply {
    pub fn json(body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: 200, headers: Vec::new(), body: body.into(), end: End::Whole }
    }

    pub fn status(status: u16, body: &str) -> Reply {
        Reply { status, ..Reply::json(body) }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Ends in the middle.
    pub fn cut(self) -> Reply {
        Reply { end: End::Cut, ..self }
    }

    /// Never an answer.
    pub fn hang() -> Reply {
        Reply { end: End::Hang, ..Reply::json("") }
    }

    /// Server-sent events, as they are told; dropping the sender ends the stream.
    pub fn events(told: watch::Receiver<Vec<String>>) -> Reply {
        Reply { end: End::Stream(told), ..Reply::json("") }.with_header("content-type", "text/event-stream")
    }

    async fn send(self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        if matches!(self.end, End::Hang) {
            std::future::pending::<()>().await;
        }
        let mut head = format!("HTTP/1.1 {} Said\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.end {
            End::Whole => head.push_str(&format!("content-length: {}\r\n", self.body.len())),
            End::Cut => head.push_str(&format!("content-length: {}\r\n", self.body.len() + 100)),
            End::Hang | End::Stream(_) => {}
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&self.body).await?;
        if let End::Stream(mut told) = self.end {
            let mut sent = 0;
            loop {
                let pieces: Vec<String> = told.borrow_and_update()[sent..].to_vec();
                for piece in pieces {
                    stream.write_all(piece.as_bytes()).await?;
                    sent += 1;
                }
                if told.changed().await.is_err() {
                    break;
                }
            }
        }
        stream.shutdown().await
    }
}

type Answers = dyn Fn(&Question) -> Reply + Send + Sync;

/// The server. It ends with the test's runtime.
pub struct Server {
    pub address: String,
    questions: Arc<Mutex<Vec<Question>>>,
    answers: Arc<Mutex<Arc<Answers>>>,
}

impl Server {
    pub async fn start(answers: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Server {
        Server::launch(None, answers).await
    }

    /// With TLS.
    pub async fn start_with_tls(
        acceptor: TlsAcceptor,
        answers: impl Fn(&Question) -> Reply + Send + Sync + 'static,
    ) -> Server {
        Server::launch(Some(acceptor), answers).await
    }

    async fn launch(
        tls: Option<TlsAcceptor>,
        answers: impl Fn(&Question) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            address: format!("http://{}", listener.local_addr().unwrap()),
            questions: Arc::default(),
            answers: Arc::new(Mutex::new(Arc::new(answers))),
        };
        let (questions, answers) = (Arc::clone(&server.questions), Arc::clone(&server.answers));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (questions, answers) = (Arc::clone(&questions), Arc::clone(&answers));
                match tls.clone() {
                    None => drop(tokio::spawn(serve(stream, questions, answers))),
                    Some(tls) => drop(tokio::spawn(async move {
                        // Who does not trust the certificate hangs up.
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, questions, answers).await;
                        }
                    })),
                }
            }
        });
        server
    }

    /// From now on answers so.
    pub fn answer(&self, answers: impl Fn(&Question) -> Reply + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Arc::new(answers);
    }

    /// All that was asked so far.
    pub fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    questions: Arc<Mutex<Vec<Question>>>,
    answers: Arc<Mutex<Arc<Answers>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let question = Question::read(std::str::from_utf8(&head).unwrap());
    questions.lock().unwrap().push(question.clone());
    let answers = Arc::clone(&answers.lock().unwrap());
    // Whoever asked may have hung up.
    let _ = answers(&question).send(&mut stream).await;
}
