//! DICOMweb as a viewer sees it, below `/dicom-web/{archive}/`.

mod addresses;
mod compression;
mod cors;
mod errors;
mod every_archive;
mod headers;
mod kept;
mod negotiation;
mod pictures;
mod requests;
mod streams;
mod supplied;
mod xml;
