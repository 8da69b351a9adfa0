//! The tables of PS3.16 that translate defined terms of DICOM to codes. A term that is not in a table has no code.

pub(crate) mod body_part;
pub(crate) mod laterality;
pub(crate) mod snomed;
pub(crate) mod snomed_rt;
