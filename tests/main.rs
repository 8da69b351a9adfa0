//! Integration tests, which are one program. Most of them start the gateway and send HTTP requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, unreachable_pub)]

mod architecture;
mod archive;
mod auth;
mod bad_input;
mod build_info;
mod command_line;
mod connection_failures;
mod dialects;
mod dicomweb;
mod fhir;
mod hidden_values;
mod hl7;
mod hosts;
mod invalidation;
mod lenient_uids;
mod mapping;
mod support;
mod tls_listener;
