//! A FHIR R4 and DICOMweb gateway in front of one or many PACS.
//!
//! # The tour: one request, from the socket to the PACS and back
//!
//! A client connects. [`http_server`] holds the listener: it bounds how many connections there are and how long each may be
//! silent, rejects ambiguous requests, and passes the others to [`service`], the life of a request:
//!
//! 1. [`routes`] parses method and raw path into a `Route`; what could be read in two ways is rejected before it is looked at.
//! 2. [`http`] finds the public base URL under which the caller knows the gateway, so that the caller can follow every link in the
//!    response.
//! 3. [`auth`] decides once who is asking and what they may see. Every call from here on carries that `Access`.
//! 4. A FHIR request goes to [`fhir`], which parses its parameters by the one table in [`fhir_r4::search`]; a DICOMweb request goes
//!    to [`dicomweb`], which forwards it to the archive and streams the response back, with the archive's URLs rewritten. What an
//!    archive lacks is synthesized; images that it does not render, [`dicom_render`] does.
//! 5. [`fhir`] asks [`studies`]: criteria become QIDO-RS queries that narrow no further than an archive can be trusted, every row is
//!    compared with every criterion again, and what is below a study is fetched only as deep as was asked.
//! 6. [`cache`] keeps what was assembled, as bytes, and lets identical loads in flight share one. [`change_log`] knows since when
//!    each study has its present content, and keeps that in the [`store`].
//! 7. [`upstream`] is the only way to a PACS: typed requests, a permit, a deadline and a circuit breaker for each, quirks as data.
//!    Its responses are read tolerantly by [`dicom_model`].
//! 8. [`mapping`] turns DICOM attributes into [`fhir_r4::types`], inventing nothing.
//! 9. On the way back a failure of any layer becomes an [`error::Failure`], the one table of statuses; [`telemetry`] counts the
//!    request and logs it in one line without PHI.
//!
//! [`commands`] is the command line, [`config`] reads the configuration, [`app`] builds everything from it, [`clock`] is the time that
//! tests can move, [`build_info`] names the build. The crate `dicomweb-archive` is an embedded archive with sample studies, so that all of
//! this can be tried without a PACS.

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
