//! DICOMweb as viewers use it, below `/dicom-web/{archive}/` and `/dicom-web/`.

mod cancellation;
mod compression;
mod cors;
mod empty_modalities;
mod errors;
mod escapes;
mod federation;
mod headers;
mod limits;
mod negotiation;
mod patient_conflicts;
mod rendering;
mod requested_rows;
mod requests;
mod response_cache;
mod signed_urls;
mod streams;
mod study_parts;
mod synthesis;
mod synthesized_frames;
mod truncation;
mod unusual_objects;
mod url_rewrite;
mod wado_uri;
mod xml;
