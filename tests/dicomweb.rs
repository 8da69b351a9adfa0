//! DICOMweb as a viewer sees it, below `/dicom-web/{archive}/`.

mod cancellation;
mod compression;
mod cors;
mod cuts;
mod errors;
mod escapes;
mod federation;
mod headers;
mod limits;
mod negotiation;
mod odd_objects;
mod rendering;
mod requests;
mod response_cache;
mod streams;
mod synthesis;
mod url_rewrite;
mod wado_uri;
mod xml;
