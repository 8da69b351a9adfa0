//! A FHIR R4 and DICOMweb gateway in front of one or many PACS.
//!
//! # A guided tour: one request, from the socket to the PACS and back
//!
//! A client connects. The crate [`http_server`] contains the listener: it limits the number and the idle time of connections,
//! rejects malformed and ambiguous requests, and passes the other requests to [`service`], which processes every request in the
//! same steps:
//!
//! 1. [`routes`] parses method and path to a `Route`; an ambiguous path is rejected.
//! 2. [`http`] determines the public base URL of the gateway, so that the client can follow every link in the response.
//! 3. [`auth`] authenticates the caller once. The resulting `Access` is an argument of every later call.
//! 4. [`fhir`] parses the parameters of a FHIR request according to the table in [`fhir_r4::search`]. [`dicomweb`] forwards a
//!    DICOMweb request to the archive, and streams the response with rewritten URLs. It synthesizes resources that the archive
//!    does not provide, and renders images with [`dicom_render`] if the archive does not.
//! 5. [`fhir`] calls [`studies`], which converts criteria to QIDO-RS queries with the matching keys that the archive evaluates
//!    correctly, compares every row with every criterion, and fetches the levels below a study only to the requested depth.
//! 6. [`cache`] contains assembled studies as [`encoded_resource`]s, and shares the result of identical loads in flight.
//!    [`change_log`] records in the durable [`store`] when the current content of each study was first seen.
//! 7. [`upstream`] sends all requests to a PACS: typed requests, each with a permit, a deadline and a circuit breaker. The
//!    profile of an archive product describes its quirks. [`dicom_model`] parses the responses tolerantly.
//! 8. [`mapping`] converts DICOM attributes to [`fhir_r4::types`], and invents nothing.
//! 9. A failure in any layer is converted to an [`error::Failure`] according to one table of statuses. [`telemetry`] counts the
//!    request and writes one log line without PHI.
//!
//! [`commands`] is the command line, [`config`] reads the configuration, [`app`] builds the gateway from it, [`clock`] is the
//! clock that tests can control, [`fingerprint`] hashes rows, [`archive_id`] is the id of an archive, [`circuit_breaker`] spares services that fail, and [`build_info`] is the
//! version of the build. The crate `dicomweb-archive` is an embedded archive with sample studies, for use without a PACS.

pub mod app;
pub mod archive_id;
pub mod auth;
pub mod build_info;
pub mod cache;
pub mod change_log;
pub mod circuit_breaker;
pub mod clock;
pub mod commands;
pub mod config;
pub mod dicomweb;
pub mod encoded_resource;
pub mod error;
pub mod fhir;
pub mod fingerprint;
pub mod http;
pub mod mapping;
pub mod request_priority;
pub mod routes;
pub mod service;
pub mod store;
pub mod studies;
pub mod telemetry;
pub mod upstream;
