//! The gRPC service of a Python submission.

use std::sync::Arc;

use protocol::commons::{Argument, KwArgument, Status};
use protocol::dynamic_subclass::dynamic_subclass_service_server::DynamicSubclassService;
use protocol::dynamic_subclass::{CallRequest, CallResponse, RestResponse, SetupRequest, SetupResponse};
use protocol::status;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response};

use super::frame::{self, Answer, Kind};
use super::process::Process;
use super::{AfterDeath, LARGEST_VALUE, Submission};
use crate::host::reply;

/// One submission and the process that runs it.
pub(in crate::host) struct SubmissionNode {
    model: Arc<Mutex<Model>>,
}

impl SubmissionNode {
    /// The process runs from the first Setup until `stop` or a fault of its own. The first such fault goes to `death`, in
    /// words, if the host is to end then.
    pub(in crate::host) fn new(
        submission: Submission,
        stop: CancellationToken,
        death: oneshot::Sender<String>,
    ) -> Self {
        let state = State::Down("the model has not been set up".to_owned());
        let model = Model { submission, state, stop, death: Some(death), next_id: 0 };
        SubmissionNode { model: Arc::new(Mutex::new(model)) }
    }

    /// Ends the process once `stop` was cancelled, also in the middle of a call.
    pub(in crate::host) fn end(&self) -> impl Future<Output = ()> + use<> {
        let model = self.model.clone();
        async move { model.lock().await.take_down("the model host stops").await }
    }

    fn model(&self) -> Result<OwnedMutexGuard<Model>, tonic::Status> {
        let busy = |_| tonic::Status::resource_exhausted("the model is busy with another call");
        self.model.clone().try_lock_owned().map_err(busy)
    }
}

/// As a task of its own, the call goes on when its caller has gone.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, tonic::Status> {
    let failed = |error| tonic::Status::internal(format!("the model host failed: {error}"));
    tokio::spawn(work).await.map_err(failed)
}

#[tonic::async_trait]
impl DynamicSubclassService for SubmissionNode {
    async fn setup(&self, request: Request<SetupRequest>) -> Result<Response<SetupResponse>, tonic::Status> {
        let mut model = self.model()?;
        let status = detached(async move { model.set_up(request.into_inner()).await }).await??;
        Ok(Response::new(SetupResponse { status: Some(status) }))
    }

    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, tonic::Status> {
        let mut model = self.model()?;
        detached(async move { model.call(request.into_inner()).await }).await?.map(Response::new)
    }

    async fn rest(&self, _: Request<()>) -> Result<Response<RestResponse>, tonic::Status> {
        Ok(Response::new(RestResponse { status: Some(reply::success()) }))
    }
}

enum State {
    /// The instance is made.
    Live(Box<Process>),
    /// There is no instance, and why.
    Down(String),
}

struct Model {
    submission: Submission,
    state: State,
    /// Ends the call in progress, and with it the process.
    stop: CancellationToken,
    /// Ends the host; `None` once it was used.
    death: Option<oneshot::Sender<String>>,
    next_id: u32,
}

/// A call that got no answer from the process.
enum Unanswered {
    /// The caller left out a value.
    NoValue,
    /// The process is of no use any more, and why.
    Broken(String),
    /// The host was told to stop.
    Stopping,
}

impl Model {
    /// Makes the instance; one that is live stays as it is.
    async fn set_up(&mut self, request: SetupRequest) -> Result<Status, tonic::Status> {
        self.notice_end().await;
        if let State::Live(_) = self.state {
            return Ok(reply::success());
        }
        let mut process = match Process::start(&self.submission) {
            Ok(process) => Box::new(process),
            Err(error) => {
                let python = self.submission.interpreter.display();
                return Err(tonic::Status::internal(format!("the model host cannot run {python}: {error}")));
            }
        };
        let SetupRequest { class_name, instance_arguments, instance_kw_arguments } = request;
        let asked = (Kind::Setup, class_name.as_str(), instance_arguments, instance_kw_arguments);
        let (code, message) = match self.ask(&mut process, asked).await {
            Ok(answer) if answer.code == status::SUCCESS => {
                tracing::info!("the submission in {} is set up", self.submission.folder.display());
                self.state = State::Live(process);
                return Ok(reply::success());
            }
            Ok(answer) => (answer.code, answer.message),
            Err(Unanswered::NoValue) => (status::INVALID_ARGUMENT, NO_VALUE.to_owned()),
            Err(Unanswered::Broken(why)) => (status::SETUP_FAILED, why),
            Err(Unanswered::Stopping) => return Err(stopping()),
        };
        tracing::warn!(code, "the set-up failed ({code}): {message}");
        process.kill().await;
        self.state = State::Down("the set-up failed".to_owned());
        Ok(reply::failure(code, message))
    }

    async fn call(&mut self, request: CallRequest) -> Result<CallResponse, tonic::Status> {
        self.notice_end().await;
        let lost = State::Down("the call before was lost".to_owned());
        let mut process = match std::mem::replace(&mut self.state, lost) {
            State::Live(process) => process,
            State::Down(why) => {
                let message = format!("{why}: send Setup first");
                self.state = State::Down(why);
                return Ok(refused(status::FAILED_PRECONDITION, message));
            }
        };
        let CallRequest { method_name, method_arguments, method_kw_arguments } = request;
        let asked = (Kind::Call, method_name.as_str(), method_arguments, method_kw_arguments);
        let response = match self.ask(&mut process, asked).await {
            Ok(answer) if answer.code == status::SUCCESS => {
                CallResponse { status: Some(reply::success()), method_response: Some(answer.value) }
            }
            Ok(answer) => refused(answer.code, answer.message),
            Err(Unanswered::NoValue) => refused(status::INVALID_ARGUMENT, NO_VALUE.to_owned()),
            Err(Unanswered::Broken(why)) => {
                tracing::error!(method = method_name, "the model is stopped until its next Setup: {why}");
                process.kill().await;
                self.died(&why);
                self.state = State::Down(why.clone());
                return Ok(refused(status::MODEL_FAILED, why));
            }
            Err(Unanswered::Stopping) => return Err(stopping()),
        };
        self.state = State::Live(process);
        Ok(response)
    }

    /// A process may end between calls too.
    async fn notice_end(&mut self) {
        let State::Live(process) = &mut self.state else { return };
        let Some(how) = process.ended() else { return };
        tracing::error!("the model is stopped until its next Setup: {how}");
        self.take_down(&how).await;
        self.died(&how);
    }

    fn died(&mut self, how: &str) {
        if self.submission.after_death == AfterDeath::End
            && let Some(death) = self.death.take()
        {
            // a host that ends already has nobody who hears it
            let _ = death.send(how.to_owned());
        }
    }

    async fn take_down(&mut self, why: &str) {
        if let State::Live(process) = std::mem::replace(&mut self.state, State::Down(why.to_owned())) {
            process.kill().await;
        }
    }

    async fn ask(
        &mut self,
        process: &mut Process,
        (kind, name, positional, by_keyword): (Kind, &str, Vec<Argument>, Vec<KwArgument>),
    ) -> Result<Answer, Unanswered> {
        self.next_id = self.next_id.wrapping_add(1);
        let request = frame::Request::new(self.next_id, kind, name, positional, by_keyword);
        let request = request.ok_or(Unanswered::NoValue)?;
        let limit = self.submission.call_limit;
        let late = |_| {
            let seconds = limit.as_secs();
            Unanswered::Broken(format!("the model did not answer within {seconds} s and was stopped"))
        };
        let asking = timeout(limit, process.ask(&request, LARGEST_VALUE));
        match self.stop.run_until_cancelled(asking).await {
            Some(answered) => answered.map_err(late)?.map_err(Unanswered::Broken),
            None => Err(Unanswered::Stopping),
        }
    }
}

/// Not the model's fault.
fn stopping() -> tonic::Status {
    tonic::Status::unavailable("the model host stops")
}

const NO_VALUE: &str = "an argument has no value";

fn refused(code: &str, message: String) -> CallResponse {
    CallResponse { status: Some(reply::failure(code, message)), method_response: None }
}
