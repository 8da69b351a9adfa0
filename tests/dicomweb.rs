//! DICOMweb as a viewer sees it, below `/dicom-web/{archive}/`.

mod addresses;
mod errors;
mod headers;
mod requests;
mod streams;
