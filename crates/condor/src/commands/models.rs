//! `condor models`: the deploy API from the command line; who takes part in the ranking is a matter of the database.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use storage::Action;

use super::{UsageError, operator};
use crate::cli::{ModelNames, ModelsArgs, ModelsCommand};

/// Where the key is when nobody says: beside the list of models, here or where `condor up` keeps it.
const KEY_FILES: [&str; 2] = ["deploy-key", "condor-data/deploy-key"];
const KEY_VARIABLE: &str = "CONDOR_DEPLOY_KEY";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Does what was asked for.
pub async fn run(args: ModelsArgs) -> anyhow::Result<()> {
    let api = DeployApi::new(args.url, args.key_file)?;
    match args.command {
        ModelsCommand::List { json } => list(&api, json).await,
        ModelsCommand::Add { path, names, stopped } => {
            let state = if stopped { "STOPPED" } else { "RUNNING" };
            let form = named(submission(&path)?, names).text("desired_state", state);
            let model: Value = api.change(Method::POST, "/models", form).await?;
            println!("{}", text(&model, "id"));
            Ok(())
        }
        ModelsCommand::Update { id, path, names } => {
            let form = match path {
                Some(path) => submission(&path)?,
                None => Form::new(),
            };
            api.change(Method::PATCH, &model_path(&id), named(form, names)).await?;
            Ok(())
        }
        ModelsCommand::Remove { id } => {
            api.answer(api.request(Method::DELETE, &model_path(&id))?).await?;
            Ok(())
        }
        ModelsCommand::Stop { id } => desire(&api, &id, "STOPPED").await,
        ModelsCommand::Start { id } => desire(&api, &id, "RUNNING").await,
        ModelsCommand::Exclude { id, order } => operator::run(Action::ExcludeModel(id), order).await,
        ModelsCommand::Include { id, order } => operator::run(Action::IncludeModel(id), order).await,
        ModelsCommand::Logs { id, builder, follow, from_start } => {
            let kind = if builder { "builder_log_uri" } else { "runner_log_uri" };
            logs(&api, &id, kind, &format!("follow={follow}&from_start={from_start}")).await
        }
    }
}

struct DeployApi {
    url: String,
    key_file: Option<PathBuf>,
    client: Client,
}

impl DeployApi {
    fn new(url: String, key_file: Option<PathBuf>) -> anyhow::Result<Self> {
        let url = url.trim_end_matches('/').to_owned();
        // the key goes to the orchestrator and to nobody in between
        let client = Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(DeployApi { url, key_file, client })
    }

    /// The key, if there is one: from the environment, or a file.
    fn key(&self) -> anyhow::Result<Option<String>> {
        if let Some(file) = &self.key_file {
            let key = std::fs::read_to_string(file)
                .map_err(|error| UsageError(format!("--key-file {}: {error}", file.display())))?;
            return Ok(Some(key.trim().to_owned()));
        }
        if let Some(key) = std::env::var_os(KEY_VARIABLE) {
            return Ok(Some(
                key.into_string().map_err(|_| UsageError(format!("{KEY_VARIABLE} is no text")))?,
            ));
        }
        for file in KEY_FILES {
            match std::fs::read_to_string(file) {
                Ok(key) => return Ok(Some(key.trim().to_owned())),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| file.to_owned()),
            }
        }
        Ok(None)
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        Ok(match self.key()? {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
    }

    async fn models(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.answer(self.request(Method::GET, "/models")?).await?;
        answer.json().await.with_context(|| format!("{} is no deploy API", self.url))
    }

    async fn change(&self, method: Method, path: &str, form: Form) -> anyhow::Result<Value> {
        let answer = self.answer(self.request(method, path)?.multipart(form)).await?;
        answer.json().await.with_context(|| format!("{} is no deploy API", self.url))
    }

    /// The answer, when it is a good one.
    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let unreachable =
            || format!("no deploy API at {}: start `condor orchestrator`, or name another --url", self.url);
        let answer = request.send().await.with_context(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let problem: Value = answer.json().await.unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("it does not say why");
        match status {
            StatusCode::UNAUTHORIZED => bail!(
                "the deploy API refuses the key: set {KEY_VARIABLE}, or name the orchestrator's file deploy-key with --key-file"
            ),
            _ => bail!("the deploy API answers {status}: {detail}"),
        }
    }
}

/// A member of an object as text; empty when it is null.
fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// Without what could make a terminal do things: names and reasons come from others.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn list(api: &DeployApi, json: bool) -> anyhow::Result<()> {
    let models = api.models().await?;
    let mut out = std::io::stdout().lock();
    for model in &models {
        if json {
            writeln!(out, "{model}")?;
            continue;
        }
        let [id, name, status, message] =
            ["id", "model_name", "status", "statusMessage"].map(|key| printable(text(model, key)));
        // Before what participants write, which could look like it.
        let mark = if model["baseline"] == true { "baseline" } else { "" };
        writeln!(out, "{id:36}  {status:19}  {mark:8}  {name:24}  {message}")?;
    }
    if models.is_empty() && !json {
        eprintln!("there are no models: add one with `condor models add PATH`");
    }
    Ok(())
}

async fn desire(api: &DeployApi, id: &str, state: &'static str) -> anyhow::Result<()> {
    let form = Form::new().text("desired_state", state);
    api.change(Method::PATCH, &model_path(id), form).await?;
    Ok(())
}

fn model_path(id: &str) -> String {
    format!("/models/{}", escaped(id))
}

/// An id as one segment of a path.
fn escaped(id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let escape =
        |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    id.bytes().map(escape).collect()
}

async fn logs(api: &DeployApi, id: &str, kind: &str, query: &str) -> anyhow::Result<()> {
    let models = api.models().await?;
    let Some(model) = models.iter().find(|model| model["id"] == id) else {
        bail!("there is no model `{id}`: `condor models list` shows those there are");
    };
    let Some(uri) = model[kind].as_str() else { bail!("model `{id}` was not started yet and has no log") };
    let mut answer = api.answer(api.request(Method::GET, &format!("{uri}?{query}"))?).await?;
    while let Some(piece) = answer.chunk().await? {
        let mut out = std::io::stdout();
        out.write_all(&piece)?;
        out.flush()?;
    }
    Ok(())
}

const MAIN: &str = "main.py";
const REQUIREMENTS: &str = "requirements.txt";

/// Adds the names that were given.
fn named(form: Form, names: ModelNames) -> Form {
    let ModelNames { name, cruncher_name, cruncher_id } = names;
    let texts = [("model_name", name), ("cruncher_name", cruncher_name), ("cruncher_id", cruncher_id)];
    texts.into_iter().fold(form, |form, (key, text)| match text {
        Some(text) => form.text(key, text),
        None => form,
    })
}

/// The files of a submission as a form.
fn submission(path: &Path) -> anyhow::Result<Form> {
    let code = if path.is_dir() { code_in(path)? } else { path.to_owned() };
    let name = code.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let form = Form::new().part("files", file(&code, name.clone())?);
    if name != MAIN {
        return Ok(form);
    }
    let requirements = code.with_file_name(REQUIREMENTS);
    let requirements = if requirements.exists() {
        file(&requirements, REQUIREMENTS.to_owned())?
    } else {
        Part::text("").file_name(REQUIREMENTS)
    };
    Ok(form.part("files", requirements))
}

/// What runs of a submission's folder: its main.py, or else its one notebook.
pub fn code_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let main = folder.join(MAIN);
    if main.is_file() {
        return Ok(main);
    }
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut notebooks: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "ipynb")).collect();
    match (notebooks.pop(), notebooks.is_empty()) {
        (Some(notebook), true) => Ok(notebook),
        _ => {
            let folder = folder.display();
            Err(UsageError(format!("{folder}: it has no {MAIN} and not exactly one notebook: name the file"))
                .into())
        }
    }
}

fn file(path: &Path, name: String) -> anyhow::Result<Part> {
    let content = std::fs::read(path).map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
    Ok(Part::bytes(content).file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_of_a_path() {
        assert_eq!(escaped("light-1"), "light-1");
        assert_eq!(escaped("../a b?é"), "%2E%2E%2Fa%20b%3F%C3%A9");
    }

    #[test]
    fn a_folder_is_its_main_or_its_one_notebook() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        assert!(code_in(folder.path()).is_err());
        write("a.ipynb");
        assert!(code_in(folder.path()).unwrap().ends_with("a.ipynb"));
        write("b.ipynb");
        assert!(code_in(folder.path()).unwrap_err().to_string().contains("name the file"));
        write(MAIN);
        assert!(code_in(folder.path()).unwrap().ends_with(MAIN));
    }
}
