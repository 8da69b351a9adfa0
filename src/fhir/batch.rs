//! Batches (R4 http#transaction): several reads and searches in one request. Each entry gets a separate response; the responses
//! are in the order of the entries.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::bundle::{BatchEntry, write_batch_response};
use super::{FhirRequest, operation_parameters, response};
use crate::auth::Access;
use crate::encoded_resource::{EncodedResource, LastModified};
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::http::{conditional, query};
use crate::routes::{Interaction, NoRoute, Route};
use http_messages::path::decode_safe_escapes;

/// The Bundle in the request. A read-only server ignores its other elements.
#[derive(Debug, Deserialize)]
struct BatchRequest {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    entry: Vec<RequestedEntry>,
}

/// Bundle.entry. Each entry is parsed only when it is performed, so an invalid entry does not affect the other entries.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct RequestedEntry(Value);

impl RequestedEntry {
    fn parse_request(&self) -> Result<EntryRequest, Failure> {
        let fail = |code| {
            Failure::bad_request(
                code,
                "Each entry of a batch must have a request with method and url, both strings.",
            )
        };
        let member = |object: &'_ Value, name| match object.as_object() {
            None => Err(fail("structure")),
            Some(members) => Ok(members.get(name).filter(|value| !value.is_null()).cloned()),
        };
        let request = member(&self.0, "request")?.ok_or_else(|| fail("required"))?;
        for name in ["method", "url"] {
            member(&request, name)?.ok_or_else(|| fail("required"))?;
        }
        EntryRequest::deserialize(request).map_err(|_| fail("structure"))
    }
}

/// Bundle.entry.request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryRequest {
    method: String,
    url: String,
    if_none_match: Option<String>,
    if_modified_since: Option<String>,
}

/// Performs the entries of the batch in `body` (JSON), several of them concurrently, and returns the Bundle of the responses.
pub(super) async fn perform(
    context: &FhirContext,
    body: &[u8],
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let limits = &context.limits;
    let batch = parse_batch(body, limits.max_batch)?;
    let responses: Vec<_> =
        batch.entry.iter().map(|entry| respond_to_entry(context, entry, request, access)).collect();
    let mut responses = stream::iter(responses).buffered(limits.batch_parallelism);
    let (mut entries, mut size) = (Vec::new(), 0);
    while let Some(entry) = responses.next().await {
        size += entry.resource.as_ref().map_or(0, Bytes::len);
        // A resource beyond the limit is dropped immediately, because the limit bounds memory.
        entries.push(if size > limits.batch_memory { too_large_entry() } else { entry });
    }
    let encoding = tokio::task::spawn_blocking(move || EncodedResource::new(write_batch_response(&entries)));
    encoding.await.map_err(|_| Failure::internal())
}

/// Parses a batch with at most `max_entries` entries.
fn parse_batch(body: &[u8], max_entries: usize) -> Result<BatchRequest, Failure> {
    let expected = "The body must be a Bundle of type batch, in JSON.";
    let batch: BatchRequest =
        serde_json::from_slice(body).map_err(|_| Failure::bad_request("structure", expected))?;
    match batch.kind.as_deref() {
        Some("batch") if batch.resource_type == "Bundle" => {}
        Some("transaction") if batch.resource_type == "Bundle" => {
            let diagnostics = "This service is read-only and does not support transactions; use a batch.";
            return Err(Failure::bad_request("not-supported", diagnostics));
        }
        _ => return Err(Failure::bad_request("invalid", expected)),
    }
    if batch.entry.len() > max_entries {
        let diagnostics = format!("A batch has at most {max_entries} entries.");
        return Err(Failure::too_large("too-costly", diagnostics));
    }
    Ok(batch)
}

/// Performs an entry. A failure becomes the response to the entry.
async fn respond_to_entry(
    context: &FhirContext,
    entry: &RequestedEntry,
    request: &FhirRequest<'_>,
    access: &Access,
) -> BatchEntry {
    let response = match entry.parse_request() {
        Ok(entry_request) => perform_entry(context, entry, &entry_request, request, access).await,
        Err(failure) => Err(failure),
    };
    response.unwrap_or_else(|failure| failed_entry(&failure))
}

/// Performs the request `entry_request` of `entry`. `request` is the request that contains the batch.
async fn perform_entry(
    context: &FhirContext,
    entry: &RequestedEntry,
    entry_request: &EntryRequest,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<BatchEntry, Failure> {
    let base = request.base();
    let (path, query) = entry_request.url.split_once('?').unwrap_or((&entry_request.url, ""));
    let path = path.strip_prefix(&base).unwrap_or(path);
    let path = format!("/fhir/{}", path.strip_prefix('/').unwrap_or(path));
    let path = decode_safe_escapes(&path);
    let method = Method::from_bytes(entry_request.method.as_bytes())
        .map_err(|_| Failure::bad_request("value", "The method of an entry must be GET, HEAD or POST."))?;
    let route = Route::parse(&method, &path);
    let is_operation = matches!(route, Ok(Route::Fhir(Interaction::Everything(_))));
    if !matches!(method, Method::GET | Method::HEAD) && !is_operation {
        // A batch cannot change resources, and a search in a batch uses GET.
        return Err(Failure::method_not_allowed(
            "GET, HEAD",
            match route {
                Ok(Route::Fhir(Interaction::Search(kind))) => format!(
                    "In a batch, a search is a GET with its parameters in the url: GET {kind}?…"
                ),
                _ => "This service is read-only: the entries of a batch use GET or HEAD, and may use POST for an operation."
                    .to_owned(),
            },
        ));
    }
    let interaction = match route? {
        Route::Fhir(interaction) => interaction,
        Route::Batch | Route::Dicomweb { .. } | Route::DicomwebCapabilities { .. } => {
            return Err(NoRoute::NotFound.into());
        }
    };
    let mut pairs = query::decode(query)
        .map_err(|_| Failure::bad_request("invalid", "The query of an entry's url cannot be decoded."))?;
    if method == Method::POST
        && let Some(parameters) = entry.0.get("resource")
    {
        pairs.extend(operation_parameters::parse_resource(parameters.clone())?);
    }
    let headers = entry_headers(entry_request, request.headers)?;
    let fhir_request = FhirRequest { headers: &headers, pairs, public_base: request.public_base.clone() };
    let encoded = Box::pin(super::perform(context, interaction, &fhir_request, access)).await?;
    let last_modified = encoded.last_modified.as_ref().map(LastModified::second);
    let is_not_modified = conditional::is_not_modified(&headers, &encoded.etag, last_modified);
    let full_url = match interaction {
        Interaction::Read(kind, id) => Some(format!("{base}/{kind}/{id}")),
        _ => None,
    };
    Ok(BatchEntry {
        full_url: full_url.filter(|_| !is_not_modified),
        status: if is_not_modified { StatusCode::NOT_MODIFIED } else { StatusCode::OK },
        etag: Some(String::from_utf8_lossy(&encoded.etag).into_owned()),
        last_modified: last_modified
            .and_then(|second| Timestamp::try_from(second).ok())
            .map(|instant| instant.to_string()),
        outcome: (!encoded.missing_archives.is_empty())
            .then(|| response::incomplete_outcome(&encoded.missing_archives).into()),
        resource: Some(encoded.json).filter(|_| !is_not_modified && method != Method::HEAD),
    })
}

/// Returns the headers of the batch request with the conditions of the entry.
fn entry_headers(entry_request: &EntryRequest, batch_headers: &HeaderMap) -> Result<HeaderMap, Failure> {
    let mut headers = batch_headers.clone();
    for (name, value) in [
        (header::IF_NONE_MATCH, &entry_request.if_none_match),
        (header::IF_MODIFIED_SINCE, &entry_request.if_modified_since),
    ] {
        headers.remove(&name);
        if let Some(value) = value {
            let value = HeaderValue::from_str(value).map_err(|_| {
                Failure::bad_request(
                    "value",
                    "A condition of an entry contains characters that are not allowed in an HTTP header.",
                )
            })?;
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// Returns the response to an entry that failed.
fn failed_entry(failure: &Failure) -> BatchEntry {
    BatchEntry {
        full_url: None,
        status: failure.status,
        etag: None,
        last_modified: None,
        outcome: Some(response::operation_outcome(failure).into()),
        resource: None,
    }
}

/// Returns the response to an entry whose resource would exceed the memory limit of the batch.
fn too_large_entry() -> BatchEntry {
    let diagnostics = "The responses to this batch are too large together; request this entry separately.";
    failed_entry(&Failure::too_large("too-costly", diagnostics))
}
