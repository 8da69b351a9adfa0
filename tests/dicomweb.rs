//! DICOMweb as a viewer sees it, below `/dicom-web/{archive}/`.

mod addresses;
mod cors;
mod errors;
mod headers;
mod negotiation;
mod requests;
mod streams;
