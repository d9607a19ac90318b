//! Times as the front end of `/reports/…` expects them.

use domain::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::ReportSettings;

/// `2026-01-31T12:00:00.000` in UTC, and a `Z` only where the settings want it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportTime {
    at: Timestamp,
    has_zone: bool,
}

impl ReportTime {
    pub(super) fn new(at: Timestamp, settings: &ReportSettings) -> Self {
        ReportTime { at, has_zone: settings.zone_in_reports }
    }
}

impl Serialize for ReportTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let format = if self.has_zone { "%Y-%m-%dT%H:%M:%S%.3fZ" } else { "%Y-%m-%dT%H:%M:%S%.3f" };
        serializer.collect_str(&self.at.format(format))
    }
}

impl PartialSchema for ReportTime {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "An instant in UTC to the millisecond, without zone unless `report.zone_in_reports` is set.",
            ))
            .pattern(Some(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z?$"))
            .into()
    }
}

impl ToSchema for ReportTime {}
