//! Test support: a scripted PACS that can send any bytes and abort a response at any byte, a running gateway, and clients that
//! send requests unchanged.

pub mod archive_root;
pub mod client;
pub mod distribution;
pub mod gateway;
pub mod http2;
pub mod objects;
pub mod pacs;
pub mod postgres;
pub mod raw_objects;
pub mod retries;
pub mod samples;
pub mod tls_pacs;
pub mod xml;
