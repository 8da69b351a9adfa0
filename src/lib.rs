//! A FHIR R4 and DICOMweb gateway in front of one or many PACS.
//!
//! # The tour: one request, from the socket to the PACS and back
//!
//! A client connects. The crate [`http_server`] holds the listener: it limits the number of connections and how long each may
//! be silent, rejects malformed and ambiguous requests, and passes the others to [`service`], which runs every request through
//! the same steps:
//!
//! 1. [`routes`] parses method and path into a `Route`; a path that could be read in two ways is rejected.
//! 2. [`http`] finds the public base URL under which the client knows the gateway, so that the client can follow every link in
//!    the response.
//! 3. [`auth`] decides once who is asking and what they may see. The resulting `Access` is an argument of every call from here
//!    on.
//! 4. A FHIR request goes to [`fhir`], which parses its parameters with the one table in [`fhir_r4::search`]. A DICOMweb
//!    request goes to [`dicomweb`], which forwards it to the archive and streams the response back, with the archive's URLs
//!    rewritten. What an archive does not provide is synthesized; images that it does not render are rendered with
//!    [`dicom_render`].
//! 5. [`fhir`] calls [`studies`]: criteria become QIDO-RS queries that narrow no further than an archive can be trusted, every
//!    row is compared with every criterion again, and the levels below a study are fetched only as deep as requested.
//! 6. [`cache`] holds assembled studies as [`encoded_resource`]s, and lets identical loads in flight share one result. [`change_log`] records
//!    when the present content of each study was first seen, in the durable [`store`].
//! 7. [`upstream`] is the only way to a PACS: typed requests, each with a permit, a deadline and a circuit breaker, and the
//!    quirks of archive products as data. [`dicom_model`] reads the responses tolerantly.
//! 8. [`mapping`] converts DICOM attributes to [`fhir_r4::types`] and invents nothing.
//! 9. A failure in any layer becomes an [`error::Failure`], by the one table of statuses. [`telemetry`] counts the request and
//!    writes one log line without PHI.
//!
//! [`commands`] is the command line, [`config`] reads the configuration, [`app`] builds everything from it, [`clock`] is the
//! time that tests can control, [`fingerprint`] hashes rows, [`archive_id`] is the id of an archive, and [`build_info`] is the
//! version of the build. The crate `dicomweb-archive` is an embedded archive with sample studies, to try all of this without a
//! PACS.

pub mod app;
pub mod archive_id;
pub mod auth;
pub mod build_info;
pub mod cache;
pub mod change_log;
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
pub mod routes;
pub mod service;
pub mod store;
pub mod studies;
pub mod telemetry;
pub mod upstream;
