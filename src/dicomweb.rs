//! DICOMweb for viewers: searches and retrievals of one archive, passed through (PS3.18 chapters 8 and 10).
//!
//! A request is read into typed parts and asked anew; its answer streams back with its status and a few of its headers.
//! Nothing of the archive's own errors and addresses goes out. This room knows no FHIR.
//!
//! - [`path`], [`query`], [`wado_uri`] and [`accept`] read what is asked for, and refuse what an archive could read in another way
//! - [`answer`](mod@answer) decides what becomes of the archive's answer by its status and Content-Type
//! - [`federation`] is the aggregate root: one list, and the archive that holds a study
//! - [`kept`] gives small answers again that viewers ask for again and again
//! - [`stream`] carries the body, through [`rewrite`] where it is text, through `multipart` where it has parts, and through
//!   `only_part` where one is wanted as it is; `xml_parts` makes XML of JSON where the archive does not write it
//! - [`drawing`] makes the pictures that an archive does not draw

mod error;
mod federation;
mod proxy;
mod rendering;
mod request;
mod response_cache;
mod synthesis;
mod url_rewrite;

use http::{Method, Response};

pub use error::DicomwebError;
pub use federation::Federation;
pub use proxy::stream::StreamError;
pub use rendering::RenderPool;
pub use request::DicomwebRequest;
pub use request::path::{PathError, Resource};
pub use request::query::QueryError;
pub use response_cache::ResponseCache;
pub use url_rewrite::text::{Rewriter, Syntax};
pub use url_rewrite::url_map::{UrlMap, UrlRewrite};

use crate::auth::Access;
use crate::http::compression::compressed;
use crate::http::query::decode;
use crate::upstream::Archive;
use http_messages::body::{self, Body};
use request::{Attempt, ProxyRequest, SearchQuestion};

/// What DICOMweb requests are answered with; built once.
#[derive(Debug, Clone)]
pub struct DicomwebContext {
    /// The answers that are kept.
    pub kept: ResponseCache,
    /// How far an answer may reach.
    pub limits: DicomwebLimits,
    /// Where what an archive does not draw is drawn.
    pub drawing: RenderPool,
}

/// How far an answer that is put together here may reach.
#[derive(Debug, Clone, Copy)]
pub struct DicomwebLimits {
    /// So many rows of one archive are looked through for it at most.
    pub max_scan: usize,
    /// So many of its studies and series are searched for it at most.
    pub max_opened: usize,
}

/// Answers a request below `/dicom-web/{archive}/`. `public` is the address of that archive here, without a trailing
/// slash: `https://gateway.example/dicom-web/main`.
async fn handle(
    context: &DicomwebContext,
    archive: &Archive,
    access: &Access,
    public: &str,
    request: DicomwebRequest<'_>,
) -> Result<Response<Body>, DicomwebError> {
    admit(access, &request)?;
    let answer = response_cache::answer(context, archive, public, &request).await?;
    Ok(finish(&request, answer))
}

/// What is asked for, when the caller may see the study that it belongs to; what reaches across studies is for those who
/// may see them all.
fn admit(access: &Access, request: &DicomwebRequest<'_>) -> Result<Resource, DicomwebError> {
    if !matches!(*request.method, Method::GET | Method::HEAD) {
        return Err(DicomwebError::Method);
    }
    let resource = if request.path == request::wado_uri::PATH {
        request::wado_uri::resource(&request::wado_uri::read(&decode(request.query.unwrap_or_default())?)?)
    } else {
        Resource::parse(request.path)?
    };
    if access.may_see(resource.study()) { Ok(resource) } else { Err(DicomwebError::Forbidden) }
}

/// Texts are compressed where that is wanted; pixel data never are, being compressed already or larger for it.
///
/// Archives answer HEAD with 404, so that they are asked with GET, and the body is dropped unread.
fn finish(request: &DicomwebRequest<'_>, answer: Response<Body>) -> Response<Body> {
    let is_text = Resource::parse(request.path).is_ok_and(|resource| resource.is_text());
    let answer = if is_text { compressed(request.headers, answer) } else { answer };
    if request.method == Method::HEAD { answer.map(|_| body::empty()) } else { answer }
}

/// Asks the archive, whatever is known of it.
async fn fetch_upstream(
    context: &DicomwebContext,
    archive: &Archive,
    public: &str,
    request: &DicomwebRequest<'_>,
) -> Result<Response<Body>, DicomwebError> {
    let question = ProxyRequest::read(archive, public, request)?;
    // It is passed on where the archive has it, and nothing is made in its place.
    if request.path == request::wado_uri::PATH {
        return ask(archive, &question).await;
    }
    if question.is_search() && is_compared_here(archive, request, &question.resource)? {
        return federation::search::answer(&[archive], public, request, &question.resource, context.limits)
            .await;
    }
    if question.is_rendered_here(archive) {
        return rendering::draw(archive, &context.drawing, public, &question).await;
    }
    if synthesis::replaces(archive, &question) {
        return synthesis::made(archive, context.limits, &question).await;
    }
    let asked = if synthesis::completes(archive, &question) { question.in_json() } else { question.clone() };
    match forward_or_thumbnail(archive, &asked).await {
        Err(refused) if refused.is_unsupported_by_archive() => {
            if question.resource.is_for_people() {
                return match rendering::draw(archive, &context.drawing, public, &question).await {
                    // Then the archive's own word is the better one.
                    Err(DicomwebError::NotFound) => Err(refused),
                    answer => answer,
                };
            }
            if synthesis::can_make(&question) {
                return match synthesis::made(archive, context.limits, &question).await {
                    // Nor has it what that would be made of.
                    Err(error) if error.is_not_found() => Err(refused),
                    answer => answer,
                };
            }
            Err(refused)
        }
        answer => synthesis::completed(archive, context.limits, &question, answer?).await,
    }
}

/// Whether the archive can only be asked for more than a search wants, so that its rows are compared here.
fn is_compared_here(
    archive: &Archive,
    request: &DicomwebRequest<'_>,
    resource: &Resource,
) -> Result<bool, DicomwebError> {
    let asked = SearchQuestion::read(request, resource)?.query.asked_of(archive.profile());
    let asked = asked.map_err(|why| DicomwebError::Unaskable(archive.id().clone(), why))?;
    Ok(!asked.filter.is_empty())
}

/// What the archive answers, or what it draws in place of a thumbnail that it does not have.
async fn forward_or_thumbnail(
    archive: &Archive,
    question: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    match ask(archive, question).await {
        Err(refused) if refused.is_unsupported_by_archive() => match question.thumbnail_fallback() {
            Some(drawn) => ask(archive, &drawn).await,
            None => Err(refused),
        },
        answer => answer,
    }
}

/// Asks for one acceptable media type after the other, until the archive responds with one or says what holds for all of them
/// (RFC 9110 12.5.1: whatever is acceptable and available is served). The first refusal is the answer when all were refused.
async fn ask(archive: &Archive, question: &ProxyRequest) -> Result<Response<Body>, DicomwebError> {
    let mut refusals = Refusals::default();
    for attempt in question.attempts() {
        match ask_for(archive, question, &attempt).await {
            Err(refused) if refused.leaves_other_media_types() => refusals.add(refused),
            answer => return answer,
        }
    }
    Err(refusals.verdict(question.names_media_types()))
}

async fn ask_for(
    archive: &Archive,
    question: &ProxyRequest,
    attempt: &Attempt,
) -> Result<Response<Body>, DicomwebError> {
    let upstream = archive.send(attempt.request.clone()).await?;
    proxy::response::forward(archive, question, attempt, upstream).await
}

/// What an archive said to the media types that it was asked for.
#[derive(Debug, Default)]
struct Refusals {
    first: Option<DicomwebError>,
    /// One of them was refused for another reason than its media type.
    others: bool,
}

impl Refusals {
    fn add(&mut self, refused: DicomwebError) {
        self.others |= !refused.is_media_type_rejection();
        self.first.get_or_insert(refused);
    }

    /// The first refusal. Archives say 400, too, to a media type that they do not have; where the client named media types and
    /// every one was rejected, the request is well formed, and 406 is what lets a client try another.
    fn verdict(self, named_by_client: bool) -> DicomwebError {
        match self.first {
            Some(DicomwebError::Refused { archive, status, .. }) if named_by_client && !self.others => {
                DicomwebError::MediaTypesRejected { archive, status }
            }
            first => first.unwrap_or(DicomwebError::NotAcceptable),
        }
    }
}
