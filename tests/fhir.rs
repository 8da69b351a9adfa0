//! The FHIR facade over HTTP, in front of the embedded archive with the sample studies.

mod cache;
mod cost;
mod errors;
mod hostile;
mod oracle;
mod paging;
mod read;
mod search;
