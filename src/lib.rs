//! A FHIR R4 and DICOMweb gateway in front of one or many PACS.
//!
//! # The tour: one request, from the socket to the PACS and back
//!
//! A client connects. [`server`] holds the listener: it bounds how many connections there are and how long each may be
//! silent, turns ambiguous requests away at the front door, and hands the others to [`service`], the life of a request:
//!
//! 1. [`route`] parses method and raw path into a `Route`; what could be read in two ways is refused before it is looked at.
//! 2. [`http`] finds the public address under which the caller knows the gateway, so that every link in the answer is one
//!    that the caller can follow.
//! 3. [`auth`] decides once who is asking and what they may see. Every call from here on is handed that `Access`.
//! 4. A FHIR request goes to [`facade`], which parses its parameters by the one table in [`fhir::search`]; a DICOMweb
//!    request goes to [`dicomweb`], which reads the path into typed parts and streams the archive's answer through;
//!    pictures that the archive does not draw, [`render`] does.
//! 5. The facade asks [`studies`], the heart: criteria become QIDO-RS queries that narrow no further than an archive can be
//!    trusted, every row that comes back is rechecked against every criterion, and what lies below a study is fetched only
//!    as deep as was asked for.
//! 6. [`cache`] remembers what was assembled, as bytes, and lets everybody who asks for the same thing at the same time share
//!    one load.
//! 7. [`archive`] is the only way to a PACS: typed requests, a permit and a deadline for each, quirks as data. Its answers are
//!    read tolerantly by [`dicom`].
//! 8. [`mapping`] turns DICOM attributes into [`fhir::types`], inventing nothing.
//! 9. On the way back a failure of any layer becomes an [`error::Failure`], the one place that knows statuses and outcomes;
//!    [`telemetry`] counts the request and logs it in one line that tells nothing of a patient.
//!
//! [`config`] reads what an operator says, [`app`] builds everything from it, [`clock`] tells the time so that tests can move it,
//! [`check`] asks archives what they can do, and [`demo`] is an archive of its own with sample studies, so that all of it
//! can be tried without a PACS. [`objects`] reads DICOM objects as files hold them;
//! [`xml_escape`] is what both kinds of XML have in common, and
//! [`json_members`] what both kinds of JSON have. [`build_info`] says which build
//! it is.

pub mod app;
pub mod archive;
pub mod auth;
pub mod build_info;
pub mod cache;
pub mod change_log;
pub mod check;
pub mod clock;
pub mod config;
pub mod demo;
pub mod dicom;
pub mod dicomweb;
pub mod error;
pub mod facade;
pub mod fhir;
pub mod fingerprint;
pub mod http;
pub mod json_members;
pub mod mapping;
pub mod objects;
pub mod render;
pub mod route;
pub mod server;
pub mod service;
pub mod store;
pub mod studies;
pub mod telemetry;
pub mod xml_escape;
