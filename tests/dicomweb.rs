//! DICOMweb as a viewer sees it, below `/dicom-web/{archive}/`.

mod addresses;
mod compression;
mod cors;
mod cuts;
mod departures;
mod errors;
mod escapes;
mod every_archive;
mod headers;
mod kept;
mod limits;
mod negotiation;
mod odd_objects;
mod pictures;
mod requests;
mod streams;
mod supplied;
mod wado_uri;
mod xml;
