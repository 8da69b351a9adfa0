//! The FHIR facade over HTTP, in front of the embedded archive with the sample studies.

mod batch;
mod cache;
mod changes;
mod compartment;
mod cost;
mod errors;
mod formats;
mod hostile;
mod narrative;
mod oracle;
mod paging;
mod read;
mod search;
mod versions;
