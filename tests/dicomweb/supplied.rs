//! What an archive lacks, made out of what it has.

mod metadata;
mod values;
