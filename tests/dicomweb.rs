//! DICOMweb as a viewer sees it, below `/dicom-web/{archive}/`.

mod addresses;
mod compression;
mod cors;
mod cuts;
mod departures;
mod errors;
mod every_archive;
mod headers;
mod limits;
mod negotiation;
mod requests;
mod streams;
mod wado_uri;
mod xml;
