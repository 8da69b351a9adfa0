//! Tests of the FHIR API over HTTP. The archive is the embedded archive with the sample studies, or a scripted PACS.

mod archive_changes;
mod batch;
mod cache;
mod changes;
mod compartment;
mod cost;
mod dates;
mod deep_checks;
mod endless_lists;
mod errors;
mod faulty_archives;
mod formats;
mod incomplete_studies;
mod merged_studies;
mod narrative;
mod operations;
mod oracle;
mod overload;
mod paging;
mod paths;
mod read;
mod search;
mod several_archives;
mod stale_reads;
mod versions;
mod warnings;
