//! History of an instance (R4 http#history): the one version that is known, the current one. Archives keep no earlier content.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::FhirRequest;
use super::bundle::{HistoryEntry, history_bundle};
use super::read;
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::http::query;
use fhir_r4::date::{FhirDate, Prefix, matches};
use fhir_r4::search::ResourceType;

/// The parameters of a history beyond those of a read.
const PARAMETERS: [&str; 3] = ["_at", "_count", "_since"];

/// What the history says about the version.
#[derive(Deserialize)]
struct DatedResource {
    meta: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    last_updated: Option<String>,
}

/// The history of the resource `id`.
pub(super) async fn instance(
    context: &FhirContext,
    kind: ResourceType,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let (since, at) = (date(request, "_since")?, date(request, "_at")?);
    let count = request.parameter("_count").filter(|count| !count.is_empty()).unwrap_or("1");
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        let diagnostics = "Parameter _count: expected a non-negative integer.";
        return Err(Failure::bad_request("value", diagnostics).with_expression("http._count"));
    }
    let as_read = request.with(|name| !PARAMETERS.contains(&name));
    let current = read::resource(context, kind, id, &as_read, access).await?;
    let DatedResource { meta } = serde_json::from_slice(&current.json).map_err(|_| Failure::internal())?;
    let last_updated = meta.last_updated.as_deref();
    let is_in =
        |prefix: Prefix, bound: &Option<FhirDate>| match (bound, last_updated.and_then(FhirDate::parse)) {
            (Some(bound), Some(moment)) => {
                matches(prefix, bound, &moment, &TimeZone::UTC, Timestamp::UNIX_EPOCH)
            }
            // A version without a known time may be in any period.
            _ => true,
        };
    // The current version is current at every time since its own.
    let is_listed = is_in(Prefix::GreaterOrEqual, &since) && is_in(Prefix::LessOrEqual, &at);
    let base = request.base();
    let applied =
        request.pairs.iter().filter(|(name, value)| PARAMETERS.contains(&name.as_str()) && !value.is_empty());
    let applied = query::encode(applied.map(|(name, value)| (name.as_str(), value.as_str())));
    let mark = if applied.is_empty() { "" } else { "?" };
    let link = format!("{base}/{kind}/{id}/_history{mark}{applied}");
    let is_shown = is_listed && count.bytes().any(|digit| digit != b'0');
    let entry = HistoryEntry {
        full_url: &format!("{base}/{kind}/{id}"),
        resource: &current.json,
        url: &format!("{kind}/{id}"),
        etag: &String::from_utf8_lossy(&current.etag),
        last_modified: last_updated,
    };
    let total = usize::from(is_listed);
    Ok(EncodedResource::new(history_bundle(total, &link, is_shown.then_some(&entry))))
}

/// The date in the parameter `name`.
fn date(request: &FhirRequest<'_>, name: &'static str) -> Result<Option<FhirDate>, Failure> {
    let Some(text) = request.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    // An unescaped plus was decoded as a blank.
    let date = FhirDate::parse(&text.replacen(' ', "+", 1));
    date.map(Some).ok_or_else(|| {
        let diagnostics = format!("Parameter {name}: expected a date or an instant.");
        Failure::bad_request("value", diagnostics).with_expression(format!("http.{name}"))
    })
}
