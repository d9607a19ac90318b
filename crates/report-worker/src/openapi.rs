//! The OpenAPI document. Each route describes itself; what is the same for all of them is added here.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::schema::{AdditionalProperties, Object};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, Info, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema,
    SecurityRequirement,
};

/// The name of the security scheme: a key as a bearer token.
const KEY: &str = "key";

/// The document of the routes in `api`.
pub(crate) fn complete(mut api: OpenApi) -> OpenApi {
    api.info = Info::new("condor", env!("CARGO_PKG_VERSION"));
    api.info.description = Some(
        "The coordinator's public interface. It only reads. Errors are `application/problem+json` with a sentence that \
         says what to do; unknown query parameters are refused."
            .to_owned(),
    );
    for (path, item) in &mut api.paths.paths {
        if let Some(operation) = &mut item.get {
            operation.operation_id = Some(operation_id(path));
            operation.security =
                Some(vec![SecurityRequirement::default(), SecurityRequirement::new(KEY, [""; 0])]);
            for (status, response) in anywhere() {
                operation.responses.responses.entry(status).or_insert(response);
            }
        }
    }
    let components = api.components.get_or_insert_default();
    components.schemas.values_mut().for_each(close);
    add_key(components);
    api
}

/// `/api/v1/models/{model_id}` is `api_v1_models_model_id`.
fn operation_id(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

fn add_key(components: &mut Components) {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.security_schemes.insert(KEY.to_owned(), scheme.into());
}

/// What every route may answer.
fn anywhere() -> BTreeMap<String, RefOr<Response>> {
    let problems = [
        ("400", "The request is not understood."),
        ("401", "A key is needed, or the one that was sent is not known."),
        ("429", "Too many requests; `Retry-After` says when to ask again."),
        ("500", "A defect; the log says which."),
        ("503", "The data cannot be read at the moment; `Retry-After` says when to ask again."),
    ];
    let bare = [("414", "The path is too long."), ("431", "The headers are too long.")];
    let problems = problems.map(|(status, description)| (status.to_owned(), problem(description)));
    let bare = bare.map(|(status, description)| (status.to_owned(), RefOr::T(Response::new(description))));
    problems.into_iter().chain(bare).collect()
}

fn problem(description: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
        .into()
}

/// Nothing is left out of an answer, and nothing else is in it.
fn close(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(Object { properties, required, additional_properties, .. })) = schema
        && !properties.is_empty()
    {
        *required = properties.keys().cloned().collect();
        additional_properties.get_or_insert(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

/// For routes whose answers carry an entity tag: 304.
pub(crate) struct Unchanged;

impl IntoResponses for Unchanged {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = Response::new("What `If-None-Match` names is still what would be answered.");
        [("304".to_owned(), RefOr::T(response))].into()
    }
}

/// For routes with an id in their path: 404.
pub(crate) struct NotFound;

impl IntoResponses for NotFound {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [("404".to_owned(), problem("There is nothing with this id."))].into()
    }
}
