//! DICOMweb as a viewer sees it, below `/dicom-web/{archive}/`.

mod addresses;
mod cors;
mod errors;
mod headers;
mod requests;
mod streams;
