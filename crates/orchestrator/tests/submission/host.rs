//! A submission made for a test, its host, and a client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator::host::{
    AfterDeath, Environments, HostError, MAX_MESSAGE_BYTES, NodeSecurity, Submission, serve_submission,
};
use protocol::Value;
use protocol::commons::{Argument, KwArgument, Status};
use protocol::dynamic_subclass::dynamic_subclass_service_client::DynamicSubclassServiceClient;
use protocol::dynamic_subclass::{CallRequest, SetupRequest};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Cannot be imported where crunch-synth is not installed: a plain class is looked for then.
pub const BASE_CLASS: &str = "crunch_synth_is_not_here.tracker.TrackerBase";

/// Longer than any call that goes well.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// The interpreter behind `python3`, which may be a slow script of a version manager.
async fn python() -> &'static Path {
    static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
    let nothing_required = tempfile::tempdir().unwrap();
    let environments = Environments::beside(nothing_required.path());
    let found =
        || async { environments.interpreter(nothing_required.path(), Path::new("python3")).await.unwrap() };
    PYTHON.get_or_init(found).await
}

pub struct Host {
    pub folder: PathBuf,
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<Result<(), HostError>>,
    _files: Option<TempDir>,
}

impl Host {
    /// A submission of these files.
    pub async fn of_files(files: &[(&str, &str)]) -> Self {
        Self::with_limit(files, CALL_LIMIT).await
    }

    /// A submission of `main.py` alone.
    pub async fn of(main: &str) -> Self {
        Self::of_files(&[("main.py", main)]).await
    }

    pub async fn with_limit(files: &[(&str, &str)], call_limit: Duration) -> Self {
        Self::with(files, call_limit, NodeSecurity::plain(), AfterDeath::AwaitSetup).await
    }

    /// A submission of `main.py` alone that answers those whom `security` lets in.
    pub async fn guarded(main: &str, security: NodeSecurity) -> Self {
        Self::with(&[("main.py", main)], CALL_LIMIT, security, AfterDeath::AwaitSetup).await
    }

    /// A submission of `main.py` alone whose host ends when its process dies, as under an orchestrator.
    pub async fn ending_with(main: &str) -> Self {
        Self::with(&[("main.py", main)], CALL_LIMIT, NodeSecurity::plain(), AfterDeath::End).await
    }

    async fn with(
        files: &[(&str, &str)],
        call_limit: Duration,
        security: NodeSecurity,
        after_death: AfterDeath,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let place = folder.path().canonicalize().unwrap();
        let mut host = Self::serve(place, call_limit, security, after_death).await;
        host._files = Some(folder);
        host
    }

    pub async fn of_folder(folder: PathBuf) -> Self {
        Self::serve(folder, CALL_LIMIT, NodeSecurity::plain(), AfterDeath::AwaitSetup).await
    }

    async fn serve(
        folder: PathBuf,
        call_limit: Duration,
        security: NodeSecurity,
        after_death: AfterDeath,
    ) -> Self {
        let environments = Environments::beside(&folder);
        let interpreter = environments.interpreter(&folder, python().await).await.unwrap();
        let base_class = BASE_CLASS.to_owned();
        let submission =
            Submission { folder: folder.clone(), interpreter, base_class, call_limit, after_death };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving = tokio::spawn(serve_submission(listener, submission, security, stop));
        Host { folder, address, shutdown, serving, _files: None }
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub async fn client(&self) -> Client {
        let client = DynamicSubclassServiceClient::new(self.channel().await);
        Client(
            client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
    }

    pub async fn ready_client(&self) -> Client {
        let mut client = self.client().await;
        client.ready().await;
        client
    }
}

pub struct Client(pub DynamicSubclassServiceClient<Channel>);

/// Status code and message.
pub type Outcome = (String, String);

impl Client {
    pub async fn ready(&mut self) {
        assert_eq!(self.set_up(BASE_CLASS).await, ("SUCCESS".to_owned(), String::new()));
    }

    pub async fn set_up(&mut self, class: &str) -> Outcome {
        self.set_up_with(class, vec![], vec![]).await
    }

    pub async fn set_up_with(
        &mut self,
        class: &str,
        instance_arguments: Vec<Argument>,
        instance_kw_arguments: Vec<KwArgument>,
    ) -> Outcome {
        let class_name = class.to_owned();
        let request = SetupRequest { class_name, instance_arguments, instance_kw_arguments };
        outcome(self.0.setup(request).await.unwrap().into_inner().status)
    }

    /// What a successful call returned.
    pub async fn succeed(&mut self, method: &str, arguments: &[Value]) -> Value {
        let response = self.0.call(request(method, arguments)).await.unwrap().into_inner();
        assert_eq!(outcome(response.status), ("SUCCESS".to_owned(), String::new()), "{method}");
        Value::from_variant(&response.method_response.unwrap()).unwrap()
    }

    /// How a call that did not succeed ended.
    pub async fn fail(&mut self, method: &str, arguments: &[Value]) -> Outcome {
        let response = self.0.call(request(method, arguments)).await.unwrap().into_inner();
        assert_eq!(response.method_response, None, "{method}");
        outcome(response.status)
    }
}

fn outcome(status: Option<Status>) -> Outcome {
    let Status { code, message } = status.unwrap();
    (code, message)
}

pub fn request(method: &str, arguments: &[Value]) -> CallRequest {
    let numbered = (1..).zip(arguments).map(|(position, value)| value.to_argument(position));
    CallRequest { method_name: method.to_owned(), method_arguments: numbered.collect(), ..Default::default() }
}

pub fn json(text: &str) -> Value {
    Value::Json(text.to_owned())
}

pub fn keyword(keyword: &str, value: Value) -> KwArgument {
    KwArgument { keyword: keyword.to_owned(), data: Some(value.to_variant()) }
}
