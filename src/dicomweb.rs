//! DICOMweb for viewers: searches and retrievals of one archive, or of all as one (PS3.18 chapters 8 to 10).
//!
//! A request is read into typed parts, from which the request to an archive is built; the response streams back with its status
//! and a few of its headers. An archive's error bodies and URLs never reach the client. Does not know FHIR. From the request to
//! the response:
//!
//! - [`federation`] is the entry: one archive by its id, or the aggregate root, where it locates the archives that hold a study
//! - [`capabilities`] describes what is served
//! - [`request`] reads the path, the query and the accepted media types, and rejects what an archive could read in another way
//! - [`response_cache`] caches small responses that viewers request often
//! - [`response_strategy`] decides whether a response is forwarded, or compared, synthesized or rendered here
//! - [`proxy`] sends the request and forwards the response; [`url_rewrite`] replaces the archive's URLs in it
//! - [`merged_search`] merges the rows of several archives, [`synthesis`] makes metadata, bulk data and counts, [`rendering`]
//!   images
//! - [`error`] lists the errors

mod capabilities;
mod context;
mod error;
mod federation;
mod limits;
mod merged_search;
mod patient_comparison;
mod proxy;
mod rendering;
mod request;
mod response_cache;
mod response_strategy;
mod synthesis;
mod url_rewrite;

pub use capabilities::allowed;
pub use context::DicomwebContext;
pub use error::DicomwebError;
pub use federation::Federation;
pub use limits::DicomwebLimits;
pub use patient_comparison::PatientComparison;
pub use proxy::stream_error::StreamError;
pub use rendering::RenderPool;
pub use request::DicomwebRequest;
pub use request::path::{PathError, Resource, Target};
pub use request::query::QueryError;
pub use response_cache::ResponseCache;
pub use url_rewrite::syntax::Syntax;
pub use url_rewrite::text::{RewriteError, Rewriter};
pub use url_rewrite::url_map::{UrlMap, UrlRewrite};
