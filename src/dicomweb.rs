//! DICOMweb for viewers: searches and retrievals of one archive, or of all archives as one (PS3.18 chapters 8 to 10).
//!
//! A request is parsed into typed parts, from which the request to an archive is built. The response is streamed to the client
//! with its status and a few of its headers. Error bodies and URLs of archives never reach the client. This module does not
//! depend on FHIR, except that `studies` determines the totals of studies in several archives. The modules, from the request to
//! the response:
//!
//! - [`federation`] is the entry: one archive by its id, or the aggregate root, for which it locates the archives with a study
//! - [`capabilities`] describes the resources that are served
//! - [`request`] parses the path, the query and the accepted media types, and rejects requests that archives could interpret
//!   differently
//! - [`response_cache`] caches small responses that viewers request often
//! - [`response_strategy`] decides whether a response is forwarded, or whether the gateway compares, synthesizes or renders it
//! - [`proxy`] sends the request and forwards the response; [`url_rewrite`] replaces the URLs of the archive in the response
//! - [`merged_search`] merges the rows of several archives, [`synthesis`] synthesizes metadata, bulk data and counts, and
//!   [`rendering`] renders images; [`render_sources`] renders an image both by the archive and by the gateway
//! - [`error`] defines the errors

mod block_buffer;
mod capabilities;
mod context;
mod error;
mod federation;
mod limits;
mod merged_search;
mod patient_comparison;
mod proxy;
mod render_sources;
mod rendering;
mod request;
mod response_cache;
mod response_strategy;
mod synthesis;
mod url_rewrite;

pub use capabilities::options_response;
pub use context::DicomwebContext;
pub use error::{DicomwebError, comma_separated};
pub use federation::Federation;
pub use limits::DicomwebLimits;
pub use patient_comparison::PatientComparison;
pub use proxy::stream_error::StreamError;
pub use render_sources::RenderSources;
pub use rendering::RenderPool;
pub use request::DicomwebRequest;
pub use request::path::{PathError, Resource, Target};
pub use request::query::QueryError;
pub use response_cache::ResponseCache;
pub use synthesis::FrameCache;
pub use url_rewrite::query_seal::QuerySeal;
pub use url_rewrite::syntax::Syntax;
pub use url_rewrite::text::{RewriteError, Rewriter};
pub use url_rewrite::url_map::{UrlMap, UrlRewrite};
