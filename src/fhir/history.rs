//! The history of an instance (R4 http#history). It contains only the current version, because archives do not provide earlier
//! content.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::FhirRequest;
use super::bundle::{HistoryEntry, write_history};
use super::read;
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::http::query;
use fhir_r4::date::{FhirDate, Prefix, matches};
use fhir_r4::search::ResourceType;

/// The parameters that a history has in addition to those of a read.
const HISTORY_PARAMETERS: [&str; 3] = ["_at", "_count", "_since"];

/// The element of the resource from which its entry gets the time of the last change.
#[derive(Deserialize)]
struct DatedResource {
    meta: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    last_updated: Option<String>,
}

/// Returns the history of the resource `id`.
pub(super) async fn read_history(
    context: &FhirContext,
    kind: ResourceType,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let (since, at) = (parse_date(request, "_since")?, parse_date(request, "_at")?);
    let count = request.parameter("_count").filter(|count| !count.is_empty()).unwrap_or("1");
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        let diagnostics = "Parameter _count: expected a non-negative integer.";
        return Err(Failure::bad_request("value", diagnostics).with_expression("http._count"));
    }
    let read_request = request.with_parameters(|name| !HISTORY_PARAMETERS.contains(&name));
    let current = read::read_resource(context, kind, id, &read_request, access).await?;
    let DatedResource { meta } = serde_json::from_slice(&current.json).map_err(|_| Failure::internal())?;
    let last_updated = meta.last_updated.as_deref();
    let is_in_period =
        |prefix: Prefix, bound: &Option<FhirDate>| match (bound, last_updated.and_then(FhirDate::parse)) {
            (Some(bound), Some(last_updated)) => {
                matches(prefix, bound, &last_updated, &TimeZone::UTC, Timestamp::UNIX_EPOCH)
            }
            // A version without a known time may be in any period.
            _ => true,
        };
    // The current version has been current since its last change, so it matches every `_at` at or after this time.
    let is_match = is_in_period(Prefix::GreaterOrEqual, &since) && is_in_period(Prefix::LessOrEqual, &at);
    let base = request.base();
    let applied = request
        .pairs
        .iter()
        .filter(|(name, value)| HISTORY_PARAMETERS.contains(&name.as_str()) && !value.is_empty());
    let applied = query::encode(applied.map(|(name, value)| (name.as_str(), value.as_str())));
    let separator = if applied.is_empty() { "" } else { "?" };
    let self_url = format!("{base}/{kind}/{id}/_history{separator}{applied}");
    let has_entry = is_match && count.bytes().any(|digit| digit != b'0');
    let entry = HistoryEntry {
        full_url: &format!("{base}/{kind}/{id}"),
        resource: &current.json,
        url: &format!("{kind}/{id}"),
        etag: &String::from_utf8_lossy(&current.etag),
        last_modified: last_updated,
    };
    let total = usize::from(is_match);
    Ok(EncodedResource::new(write_history(total, &self_url, has_entry.then_some(&entry))))
}

/// Parses the date in the parameter `name`, if it has a value.
fn parse_date(request: &FhirRequest<'_>, name: &'static str) -> Result<Option<FhirDate>, Failure> {
    let Some(text) = request.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    // An unescaped plus sign was decoded as a space.
    let date = FhirDate::parse(&text.replacen(' ', "+", 1));
    date.map(Some).ok_or_else(|| {
        let diagnostics = format!("Parameter {name}: expected a date or an instant.");
        Failure::bad_request("value", diagnostics).with_expression(format!("http.{name}"))
    })
}
