//! `GET /reports/schema`: which columns and charts the front end shows.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::problem::Problem;

/// Which columns and charts the front end shows.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportSchema)]
pub(crate) struct Answer {
    schema_version: &'static str,
    /// Of `/reports/leaderboard`.
    leaderboard_columns: Vec<Column>,
    metrics_widgets: Vec<Widget>,
}

/// A column of the leaderboard.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReportColumn)]
struct Column {
    id: u32,
    r#type: ColumnType,
    /// The field of the row that it shows.
    property: &'static str,
    /// How a number is written; null for text.
    #[schema(pattern = "^(percentage|integer|compact|number|decimal-[0-9]+)$")]
    format: Option<&'static str>,
    display_name: &'static str,
    tooltip: &'static str,
    native_configuration: Option<ColumnConfiguration>,
    /// Columns stand in this order.
    order: i32,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = ReportColumnType)]
enum ColumnType {
    Project,
    Username,
    Value,
}

/// What a column of models shows beside the name.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReportColumnConfiguration)]
struct ColumnConfiguration {
    r#type: &'static str,
    /// The field that says whether it runs.
    status_property: &'static str,
}

/// A chart over time.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReportWidget)]
struct Widget {
    id: u32,
    /// `CHART`.
    r#type: &'static str,
    display_name: &'static str,
    tooltip: &'static str,
    /// Charts stand in this order.
    order: i32,
    /// Where its rows are from.
    endpoint_url: &'static str,
    /// The field that says of which model a row is.
    project_id_property: &'static str,
    native_configuration: Chart,
}

/// What a chart shows, and how.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReportChart)]
struct Chart {
    /// `line`.
    r#type: &'static str,
    x_axis: XAxis,
    y_axis: YAxis,
    display_evolution: bool,
    display_legend: bool,
    /// Rows with the same value of this field are one line; null: one line for each model.
    group_by_property: Option<&'static str>,
    /// What is marked as failed; null: nothing.
    alert_config: Option<AlertConfig>,
    filter_config: Vec<Filter>,
}

/// The field along the time axis.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportXAxis)]
struct XAxis {
    name: &'static str,
}

/// The fields along the other axis.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportYAxis)]
struct YAxis {
    series: Vec<Series>,
    /// How their numbers are written.
    format: &'static str,
}

/// A field as a line.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportSeries)]
struct Series {
    name: &'static str,
    label: &'static str,
    #[schema(pattern = "^#[0-9a-f]{6}$")]
    color: &'static str,
}

/// When a row counts as failed, and where it says why.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReportAlertConfig)]
struct AlertConfig {
    field: &'static str,
    reason_field: &'static str,
}

/// A choice among the values of a field.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReportFilter)]
struct Filter {
    /// `select`.
    r#type: &'static str,
    label: &'static str,
    property: &'static str,
    auto_select_first: bool,
}

/// Which columns and charts the front end shows
#[utoipa::path(
    get,
    path = "/reports/schema",
    tag = "reports",
    responses((status = 200, description = "Columns and charts.", body = Answer), Unchanged)
)]
pub(crate) async fn get(Params(NoParams {}): Params<NoParams>, ask: Ask) -> Result<Response, Problem> {
    let (leaderboard_columns, metrics_widgets) = (columns(), widgets());
    ask.render([], || Body::json(&Answer { schema_version: "1", leaderboard_columns, metrics_widgets })).await
}

fn columns() -> Vec<Column> {
    let columns = [
        (ColumnType::Username, "username", None, "Cruncher", "Who is behind the model."),
        (ColumnType::Project, "model_id", None, "Model", "The model, and whether it runs."),
        (
            ColumnType::Value,
            "score_anchor",
            Some("decimal-4"),
            "Anchor",
            "Mean relative score of the last 7 days.",
        ),
        (
            ColumnType::Value,
            "score_steady",
            Some("decimal-4"),
            "Steady",
            "Mean relative score of the last 72 hours.",
        ),
        (
            ColumnType::Value,
            "score_recent",
            Some("decimal-4"),
            "Recent",
            "Mean relative score of the last 24 hours.",
        ),
        (
            ColumnType::Value,
            "success_rate",
            Some("percentage"),
            "Answered",
            "Valid answers of the last 24 hours.",
        ),
        (
            ColumnType::Value,
            "predictions_anchor",
            Some("compact"),
            "Scored",
            "Scored predictions of the last 7 days.",
        ),
    ];
    let column =
        |(i, (r#type, property, format, display_name, tooltip)): (u32, (ColumnType, _, _, _, _))| Column {
            id: i,
            r#type,
            property,
            format,
            display_name,
            tooltip,
            native_configuration: matches!(r#type, ColumnType::Project)
                .then_some(ColumnConfiguration { r#type: "model", status_property: "status" }),
            order: i as i32 * 10,
        };
    (1..).zip(columns).map(column).collect()
}

fn widgets() -> Vec<Widget> {
    vec![
        Widget {
            display_name: "Scores",
            tooltip: "Mean relative scores of the last 24 hours, 72 hours and 7 days, over all assets and horizons.",
            ..widget(1, "/reports/models/global", chart(windows()))
        },
        Widget {
            display_name: "Scores by asset and horizon",
            tooltip: "Mean relative scores of the last 24 hours, 72 hours and 7 days, for one asset and horizon.",
            ..widget(2, "/reports/models/params", chart(windows()).by_param())
        },
        Widget {
            display_name: "Predictions",
            tooltip: "The relative score of each prediction, and why one failed; means over time where they are many.",
            ..widget(
                3,
                "/reports/predictions",
                chart(vec![line("score_value", "Score", "#2563eb")]).by_param().with_alerts(),
            )
        },
    ]
}

fn widget(id: u32, endpoint_url: &'static str, native_configuration: Chart) -> Widget {
    Widget {
        id,
        r#type: "CHART",
        display_name: "",
        tooltip: "",
        order: id as i32 * 10,
        endpoint_url,
        project_id_property: "model_id",
        native_configuration,
    }
}

fn windows() -> Vec<Series> {
    vec![
        line("score_recent", "Recent", "#d97706"),
        line("score_steady", "Steady", "#059669"),
        line("score_anchor", "Anchor", "#2563eb"),
    ]
}

fn line(name: &'static str, label: &'static str, color: &'static str) -> Series {
    Series { name, label, color }
}

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        r#type: "line",
        x_axis: XAxis { name: "performed_at" },
        y_axis: YAxis { series, format: "decimal-4" },
        display_evolution: false,
        display_legend: true,
        group_by_property: None,
        alert_config: None,
        filter_config: Vec::new(),
    }
}

impl Chart {
    fn by_param(self) -> Self {
        let select = |label, property| Filter { r#type: "select", label, property, auto_select_first: true };
        let filter_config =
            vec![select("Asset", "asset"), select("Horizon", "horizon"), select("Step", "step")];
        Chart { group_by_property: Some("param"), filter_config, ..self }
    }

    fn with_alerts(self) -> Self {
        let alerts = AlertConfig { field: "score_failed", reason_field: "score_failed_reason" };
        Chart { alert_config: Some(alerts), ..self }
    }
}
