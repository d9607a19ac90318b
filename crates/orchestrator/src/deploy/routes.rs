//! The requests that the API answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::multipart::MultipartRejection;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use axum::{Json, Router};
use domain::{CrunchId, ModelId};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::guard::{self, Guard};
use super::problem::Problem;
use super::store::ModelStore;
use super::upload::{Form, MAX_UPLOAD_BYTES};
use crate::local::Control;
use crate::logs::{LogKind, ModelLogs};
use crate::models_file::{DesiredState, ModelProgram};
use crate::status::{ModelStatus, Status};

/// Uploads that are held in memory at once; further ones wait.
const UPLOADS_AT_ONCE: usize = 4;

static UPLOADING: Semaphore = Semaphore::const_new(UPLOADS_AT_ONCE);

/// What every request works on.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) control: Control,
    pub(super) store: Arc<ModelStore>,
    pub(super) logs: ModelLogs,
    pub(super) crunch_id: CrunchId,
    /// Ends logs that are followed.
    pub(super) stop: CancellationToken,
}

pub(super) fn router(api: Api, guard: Guard) -> Router {
    let no_page = || async { Problem::new(StatusCode::NOT_FOUND, "There is nothing here: ask for /models.") };
    let no_method = || async {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This cannot be done here: see the Allow header.")
    };
    Router::new()
        .route("/models", get(list).post(create))
        .route("/models/{id}", patch(update).delete(remove))
        .route("/models/logs/{kind}/{job_id}", get(log))
        .fallback(no_page)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(MAX_UPLOAD_BYTES))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(api)
}

/// A model in an answer.
#[derive(Serialize)]
struct Model {
    #[serde(flatten)]
    summary: Summary,
    deployment_id: Option<String>,
    status: Status,
    #[serde(rename = "statusMessage")]
    status_message: String,
    builder_log_uri: Option<String>,
    runner_log_uri: Option<String>,
    submission_id: Option<String>,
    /// It comes with the orchestrator and is no participant's.
    baseline: bool,
}

/// What is known of a model without looking at what it does.
#[derive(Serialize)]
struct Summary {
    id: ModelId,
    model_name: Option<String>,
    crunch_id: CrunchId,
    desired_state: DesiredState,
    cruncher_id: Option<String>,
    cruncher_name: Option<String>,
}

impl Api {
    fn summary(&self, model: &ModelStatus) -> Summary {
        let (entry, infos) = (&model.entry, &model.entry.infos);
        Summary {
            id: entry.model_id.clone(),
            model_name: infos.model_name.clone(),
            crunch_id: self.crunch_id.clone(),
            desired_state: entry.desired_state,
            cruncher_id: infos.cruncher_id.clone(),
            cruncher_name: infos.cruncher_name.clone(),
        }
    }

    fn model(&self, model: ModelStatus) -> Model {
        let job = model.deployment_id.as_ref();
        let log = |kind: LogKind| job.map(|job| format!("/models/logs/{}/{job}", kind.as_str()));
        Model {
            summary: self.summary(&model),
            deployment_id: job.map(ToString::to_string),
            status: model.status,
            builder_log_uri: log(LogKind::Builder),
            runner_log_uri: log(LogKind::Runner),
            submission_id: match &model.entry.program {
                ModelProgram::Submission(id) => Some(id.to_string()),
                ModelProgram::Builtin(_) => None,
            },
            baseline: model.entry.program.is_baseline(),
            status_message: model.message,
        }
    }

    /// The answer to a change.
    fn changed(&self, id: &str) -> Result<Json<Summary>, Problem> {
        let model = self.control.models().into_iter().find(|model| model.entry.model_id.as_str() == id);
        let invalid = || {
            let detail = format!(
                "The entry of `{id}` in the list of models is invalid: the orchestrator's log says why."
            );
            Problem::new(StatusCode::CONFLICT, detail)
        };
        model.map(|model| Json(self.summary(&model))).ok_or_else(invalid)
    }
}

async fn list(State(api): State<Api>) -> Json<Vec<Model>> {
    Json(api.control.models().into_iter().map(|model| api.model(model)).collect())
}

async fn read_form(parts: Result<Multipart, MultipartRejection>) -> Result<Form, Problem> {
    let parts = parts.map_err(|_| Problem::bad_request("Send a form as multipart/form-data."))?;
    // the semaphore is never closed, so that there is always a permit
    let _place = UPLOADING.acquire().await.ok();
    Form::read(parts).await
}

async fn create(
    State(api): State<Api>,
    parts: Result<Multipart, MultipartRejection>,
) -> Result<Json<Summary>, Problem> {
    let form = read_form(parts).await?;
    let missing = |part: &str| Err(Problem::bad_request(format!("The part {part}.")));
    if form.desired_state.is_none() {
        return missing("`desired_state` is missing: send RUNNING or STOPPED");
    }
    if form.code.is_none() {
        return missing("`files` is missing: send one notebook (.ipynb), or main.py with requirements.txt");
    }
    let id = api.store.create(form).await?;
    tracing::info!(model_id = id, "deploy API: model {id} was added");
    api.changed(&id)
}

async fn update(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    parts: Result<Multipart, MultipartRejection>,
) -> Result<Json<Summary>, Problem> {
    let Path(id) = id.map_err(|error| Problem::bad_request(error.body_text()))?;
    let form = read_form(parts).await?;
    api.store.update(&id, form).await?;
    tracing::info!(model_id = id, "deploy API: model {id} was changed");
    api.changed(&id)
}

async fn remove(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id.map_err(|error| Problem::bad_request(error.body_text()))?;
    api.store.remove(&id).await?;
    tracing::info!(model_id = id, "deploy API: model {id} was removed");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// Stay and send what is added.
    #[serde(default)]
    follow: bool,
    /// All that is kept, not only the end.
    #[serde(default)]
    from_start: bool,
}

async fn log(
    State(api): State<Api>,
    path: Result<Path<(LogKind, String)>, PathRejection>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path((kind, job)) =
        path.map_err(|_| Problem::bad_request("Ask for the log `builder` or `runner`."))?;
    let Query(LogQuery { follow, from_start }) = query.map_err(|_| {
        Problem::bad_request("Only `follow` and `from_start` can be asked for, each true or false.")
    })?;
    let of_job = |model: &ModelStatus| model.deployment_id.as_ref().is_some_and(|id| id.as_str() == job);
    let models = api.control.models();
    let model = models.into_iter().find(of_job).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "There is no such job: GET /models has the addresses of all logs.",
        )
    })?;
    let model_id = model.entry.model_id;
    let body = if follow {
        let stream = api.logs.follow(kind, &model_id, from_start).take_until(api.stop.cancelled_owned());
        Body::from_stream(stream)
    } else {
        let logs = api.logs.clone();
        let read = tokio::task::spawn_blocking(move || logs.read(kind, &model_id, from_start)).await;
        let unreadable = |error| Problem::internal("a log cannot be read", error);
        Body::from(read.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(unreadable)?)
    };
    let plain = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        // what a model prints is text, whatever it looks like
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((plain, body).into_response())
}
