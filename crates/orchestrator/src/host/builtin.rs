//! The gRPC service of a built-in model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::commons::{Status, Variant};
use protocol::dynamic_subclass::dynamic_subclass_service_server::DynamicSubclassService;
use protocol::dynamic_subclass::{CallRequest, CallResponse, RestResponse, SetupRequest, SetupResponse};
use protocol::{Value, method, status};
use tokio::sync::Mutex;
use tonic::{Request, Response};

use super::arguments::{Arguments, InvalidArgument, excerpt};
use super::reply;
use crate::builtin::{BuiltinModel, ModelError};

/// The base classes that live coordinators name end with this, whatever their package is called.
const BASE_CLASS_SUFFIX: &str = "TrackerBase";

/// One model and its state.
pub(super) struct Node {
    model: Mutex<Box<dyn BuiltinModel>>,
    is_set_up: AtomicBool,
}

impl Node {
    pub(super) fn new(model: Box<dyn BuiltinModel>) -> Self {
        Node { model: Mutex::new(model), is_set_up: AtomicBool::new(false) }
    }
}

/// A call that was not answered with a value.
struct Refusal {
    code: &'static str,
    message: String,
}

impl From<InvalidArgument> for Refusal {
    fn from(error: InvalidArgument) -> Self {
        Refusal { code: status::INVALID_ARGUMENT, message: error.to_string() }
    }
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Self {
        let code = match error {
            ModelError::InvalidQuestion(_) => status::INVALID_ARGUMENT,
            ModelError::Raised(_) => status::MODEL_FAILED,
        };
        Refusal { code, message: error.to_string() }
    }
}

#[tonic::async_trait]
impl DynamicSubclassService for Node {
    async fn setup(&self, request: Request<SetupRequest>) -> Result<Response<SetupResponse>, tonic::Status> {
        let status = match check_setup(request.get_ref()) {
            Ok(()) => {
                self.is_set_up.store(true, Ordering::Release);
                reply::success()
            }
            Err(Refusal { code, message }) => reply::failure(code, message),
        };
        Ok(Response::new(SetupResponse { status: Some(status) }))
    }

    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, tonic::Status> {
        if !self.is_set_up.load(Ordering::Acquire) {
            let message = "the model has not been set up: send Setup first".to_owned();
            return Ok(answer(Err(Refusal { code: status::FAILED_PRECONDITION, message })));
        }
        let busy = |_| tonic::Status::resource_exhausted("the model is busy with another call");
        let mut model = self.model.try_lock().map_err(busy)?;
        // A built-in model answers in microseconds: a thread of its own for each call would cost more than the call.
        let called = catch_unwind(AssertUnwindSafe(|| call(&mut **model, request.into_inner())));
        let panicked = |_| Refusal { code: status::MODEL_FAILED, message: "the model panicked".to_owned() };
        Ok(answer(called.unwrap_or_else(|panic| Err(panicked(panic)))))
    }

    async fn rest(&self, _: Request<()>) -> Result<Response<RestResponse>, tonic::Status> {
        Ok(Response::new(RestResponse { status: Some(reply::success()) }))
    }
}

fn check_setup(request: &SetupRequest) -> Result<(), Refusal> {
    let class = &request.class_name;
    if !class.ends_with(BASE_CLASS_SUFFIX) {
        let message =
            format!("there is no class `{}` here: a built-in model is a {BASE_CLASS_SUFFIX}", excerpt(class));
        return Err(Refusal { code: status::BAD_IMPLEMENTATION, message });
    }
    let (by_position, by_keyword) = (&request.instance_arguments, &request.instance_kw_arguments);
    if by_position.is_empty() && by_keyword.is_empty() {
        return Ok(());
    }
    let message = "a built-in model takes no arguments at its making".to_owned();
    Err(Refusal { code: status::INVALID_ARGUMENT, message })
}

fn call(model: &mut dyn BuiltinModel, request: CallRequest) -> Result<Value, Refusal> {
    let mut arguments = Arguments::new(request.method_arguments, request.method_kw_arguments);
    match request.method_name.as_str() {
        method::TICK => {
            let prices = arguments.prices("prices")?;
            arguments.finish()?;
            model.tick(&prices)?;
            Ok(Value::None)
        }
        method::PREDICT => {
            let (asset, horizon) = (arguments.asset("asset")?, arguments.span("horizon")?);
            let step = arguments.span("step")?;
            arguments.finish()?;
            Ok(Value::Json(model.predict(&asset, horizon, step)?))
        }
        method::PREDICT_ALL => {
            let (asset, horizon) = (arguments.asset("asset")?, arguments.span("horizon")?);
            let steps = arguments.spans("steps")?;
            arguments.finish()?;
            Ok(Value::Json(model.predict_all(&asset, horizon, &steps)?))
        }
        other => Err(Refusal {
            code: status::BAD_IMPLEMENTATION,
            message: format!("the model has no method `{}`", excerpt(other)),
        }),
    }
}

fn answer(result: Result<Value, Refusal>) -> Response<CallResponse> {
    let (status, value): (Status, Option<Variant>) = match result {
        Ok(value) => (reply::success(), Some(value.to_variant())),
        Err(Refusal { code, message }) => (reply::failure(code, message), None),
    };
    Response::new(CallResponse { status: Some(status), method_response: value })
}
