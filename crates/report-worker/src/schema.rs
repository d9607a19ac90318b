//! What the OpenAPI document says of types of other crates, which know nothing of HTTP: name them by `value_type`.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Names a schema that is made by `$build`.
macro_rules! stand_in {
    ($(#[$doc:meta])* $name:ident, $build:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $build.into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    };
}

stand_in!(
    /// [`domain::Timestamp`].
    Timestamp,
    described(Type::String, "An instant in UTC, RFC 3339 with `Z`, exact to the microsecond.")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .pattern(Some(
            r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?Z$",
        ))
        .build()
);
stand_in!(
    /// [`domain::Span`].
    Span,
    described(Type::String, "A span of time: a whole number with a unit, such as `90s`, `15m`, `24h` or `7d`.")
        .pattern(Some(r"^(\d{1,9}s|\d{1,7}m|\d{1,6}h|\d{1,4}d)$"))
        .build()
);
stand_in!(
    /// [`domain::Asset`].
    Asset,
    described(Type::String, "What is priced, such as `BTC`.")
        .min_length(Some(1))
        .max_length(Some(200))
        .pattern(Some(r"^[A-Za-z0-9_./-]+$"))
        .build()
);
stand_in!(
    /// [`domain::ModelId`].
    ModelId,
    described(Type::String, "A model's id, stable over its deployments; it holds no control characters.")
        .min_length(Some(1))
        .max_length(Some(200))
        .pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]+$"))
        .build()
);
stand_in!(
    /// [`domain::RoundId`].
    RoundId,
    described(Type::String, "A round's id. Ids sort by the instant at which the round is asked.")
        .format(Some(SchemaFormat::Custom("uuid".into())))
        .build()
);
stand_in!(
    /// [`domain::Window`].
    Window,
    words("How far back a rolling mean looks: 24, 72 or 168 hours.", domain::Window::ALL.iter().map(|w| w.as_str()))
);
stand_in!(
    /// [`domain::RankingGroup`].
    RankingGroup,
    words(
        "By what a model is ranked: the longest window that it has filled. Better groups come first.",
        domain::RankingGroup::ALL.iter().map(|group| group.as_str())
    )
);

/// [`domain::PerWindow`].
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes, and is never made")]
pub(crate) struct PerWindow<T> {
    /// For the last 24 hours.
    recent: T,
    /// For the last 72 hours.
    steady: T,
    /// For the last 168 hours.
    anchor: T,
}

stand_in!(
    /// [`crate::paging::Cursor`].
    Cursor,
    described(Type::String, "Where a list goes on: opaque.")
        .min_length(Some(1))
        .max_length(Some(300))
        .pattern(Some("^[A-Za-z0-9_-]+$"))
        .build()
);
stand_in!(
    /// [`domain::RoundState`].
    RoundState,
    words(
        "Where a round stands: asked, closed, then scored or void; or interrupted, or missed.",
        domain::RoundState::ALL.iter().map(|state| state.as_str())
    )
);
stand_in!(
    /// [`domain::PredictionStatus`].
    PredictionStatus,
    words(
        "How a model's part in a round ended.",
        domain::PredictionStatus::ALL.iter().map(|status| status.as_str())
    )
);
stand_in!(
    /// [`crate::rounds::cause`].
    Cause,
    words(
        "Why there is no valid answer: it was refused, it was too large to be read, the model raised an error, it could not be \
         set up, it came late, or the model was absent.",
        crate::rounds::CAUSES.into_iter()
    )
);
stand_in!(
    /// [`crate::rounds::Told::hidden`].
    Hidden,
    words(
        "Why nothing is told of an answer: its round has not resolved, or it is not yours to see.",
        crate::rounds::HIDDEN.into_iter()
    )
);
stand_in!(
    /// [`domain::Method`].
    Method,
    words("Which method of a model answers.", domain::Method::ALL.iter().map(|method| method.as_str()))
);
stand_in!(
    /// [`domain::Target`].
    Target,
    words("What of the price is forecast.", domain::Target::ALL.iter().map(|target| target.as_str()))
);
stand_in!(
    /// [`crate::presence::Presence`].
    Presence,
    words(
        "Whether a model is there: seen connected within the last two hours; not seen, and counted as absent; or not for so \
         long that it has left the field.",
        crate::presence::Presence::WORDS.into_iter()
    )
);
stand_in!(
    /// [`crate::csv::Format`].
    Format,
    words("In which form a table is sent.", ["json", "csv"].into_iter())
);
stand_in!(
    /// [`scoring::Aggregation`].
    Aggregation,
    words("How the scores of all increments become one.", ["mean", "sum"].into_iter())
);

fn described(kind: Type, description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind).description(Some(description))
}

fn words(description: &str, words: impl Iterator<Item = &'static str>) -> Object {
    described(Type::String, description).enum_values(Some(words)).build()
}
