//! dicomweb-gateway: a FHIR R4 and DICOMweb gateway in front of one or many PACS.

pub mod access;
pub mod archive;
pub mod cache;
pub mod check;
pub mod clock;
pub mod config;
pub mod demo;
pub mod dicom;
pub mod dicomweb;
pub mod error;
pub mod facade;
pub mod fhir;
pub mod gateway;
pub mod http;
pub mod mapping;
pub mod route;
pub mod server;
pub mod service;
pub mod studies;
pub mod telemetry;
