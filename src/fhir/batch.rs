//! Batches (R4 http#transaction): several reads and searches in one request, each with a response of its own, in the order of
//! the entries.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;

use super::bundle::{BatchEntry, batch_response};
use super::{FhirRequest, operation_parameters, response};
use crate::auth::Access;
use crate::encoded_resource::{EncodedResource, LastModified};
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::http::{conditional, query};
use crate::routes::{Interaction, NoRoute, Route};
use http_messages::path::decode_safe_escapes;

/// The Bundle of the request. Its other elements do not matter to a read-only server.
#[derive(Debug, Deserialize)]
struct BatchRequest {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    entry: Vec<RequestedEntry>,
}

/// Bundle.entry, read when it is performed: an invalid one is the error of this entry only.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct RequestedEntry(serde_json::Value);

impl RequestedEntry {
    fn request(&self) -> Result<EntryRequest, Failure> {
        let request = self.0.get("request").filter(|request| !request.is_null());
        let expected = "Each entry of a batch has a request with method and url, both strings.";
        let request = request.ok_or_else(|| Failure::bad_request("required", expected))?;
        EntryRequest::deserialize(request).map_err(|_| Failure::bad_request("structure", expected))
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

/// Responds to every entry of the batch in `body` (JSON), several at a time.
pub(super) async fn perform(
    context: &FhirContext,
    body: &[u8],
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let limits = &context.limits;
    let batch = read(body, limits.max_batch)?;
    let responses: Vec<_> =
        batch.entry.iter().map(|entry| respond_to_entry(context, entry, request, access)).collect();
    let mut responses = stream::iter(responses).buffered(limits.batch_parallelism);
    let (mut entries, mut size) = (Vec::new(), 0);
    while let Some(entry) = responses.next().await {
        size += entry.resource.as_ref().map_or(0, Bytes::len);
        // Entries beyond the limit are dropped at once, because the limit bounds memory.
        entries.push(if size > limits.batch_memory { too_much() } else { entry });
    }
    let writing = tokio::task::spawn_blocking(move || EncodedResource::new(batch_response(&entries)));
    writing.await.map_err(|_| Failure::internal())
}

fn read(body: &[u8], max_entries: usize) -> Result<BatchRequest, Failure> {
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

async fn respond_to_entry(
    context: &FhirContext,
    entry: &RequestedEntry,
    request: &FhirRequest<'_>,
    access: &Access,
) -> BatchEntry {
    let performed = match entry.request() {
        Ok(requested) => perform_entry(context, entry, &requested, request, access).await,
        Err(failure) => Err(failure),
    };
    performed.unwrap_or_else(|failure| failed(&failure))
}

async fn perform_entry(
    context: &FhirContext,
    entry: &RequestedEntry,
    requested: &EntryRequest,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<BatchEntry, Failure> {
    let base = request.base();
    let (path, query) = requested.url.split_once('?').unwrap_or((&requested.url, ""));
    let path = path.strip_prefix(&base).unwrap_or(path);
    let path = format!("/fhir/{}", path.strip_prefix('/').unwrap_or(path));
    let path = decode_safe_escapes(&path);
    let method = Method::from_bytes(requested.method.as_bytes())
        .map_err(|_| Failure::bad_request("value", "The method of an entry must be GET, HEAD or POST."))?;
    let route = Route::parse(&method, &path);
    let is_operation = matches!(route, Ok(Route::Fhir(Interaction::Everything(_))));
    if !matches!(method, Method::GET | Method::HEAD) && !is_operation {
        // A batch changes nothing, and a search in a batch uses GET.
        return Err(Failure::method_not_allowed(
            "GET, HEAD",
            "This service is read-only: the entries of a batch use GET or HEAD, and may use POST for an operation.",
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
        pairs.extend(operation_parameters::of_resource(parameters.clone())?);
    }
    let headers = headers(requested, request.headers)?;
    let own = FhirRequest { headers: &headers, pairs, public_base: request.public_base.clone() };
    let encoded = Box::pin(super::perform(context, interaction, &own, access)).await?;
    let modified = encoded.last_modified.as_ref().map(LastModified::second);
    let is_not_modified = conditional::is_not_modified(&headers, &encoded.etag, modified);
    let full_url = match interaction {
        Interaction::Read(kind, id) => Some(format!("{base}/{kind}/{id}")),
        _ => None,
    };
    Ok(BatchEntry {
        full_url: full_url.filter(|_| !is_not_modified),
        status: if is_not_modified { StatusCode::NOT_MODIFIED } else { StatusCode::OK },
        etag: Some(String::from_utf8_lossy(&encoded.etag).into_owned()),
        last_modified: modified.and_then(|second| Timestamp::try_from(second).ok()).map(|at| at.to_string()),
        outcome: None,
        resource: Some(encoded.json).filter(|_| !is_not_modified && method != Method::HEAD),
    })
}

/// The headers of the batch request, with the conditions of the entry.
fn headers(requested: &EntryRequest, batch_headers: &HeaderMap) -> Result<HeaderMap, Failure> {
    let mut headers = batch_headers.clone();
    for (name, value) in [
        (header::IF_NONE_MATCH, &requested.if_none_match),
        (header::IF_MODIFIED_SINCE, &requested.if_modified_since),
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

fn failed(failure: &Failure) -> BatchEntry {
    BatchEntry {
        full_url: None,
        status: failure.status,
        etag: None,
        last_modified: None,
        outcome: Some(response::outcome(failure).into()),
        resource: None,
    }
}

fn too_much() -> BatchEntry {
    let diagnostics = "The responses to this batch are too large together; request this entry separately.";
    failed(&Failure::too_large("too-costly", diagnostics))
}
