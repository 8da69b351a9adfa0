//! What DICOM itself says: tags, UIDs, dates, names, and the DICOM JSON model (PS3.18 Annex F), read tolerantly; and the
//! XML that says the same.
//!
//! Real archives write numbers as strings and strings as numbers, keywords for tags, names unsplit, `null`s and
//! padding; whatever can be read is read, and only what is not JSON at all is refused. This module knows no FHIR, no
//! sockets, no clock.

pub mod charset;
pub mod data_set;
pub mod encapsulated;
pub mod json;
pub mod metadata;
pub mod part10;

pub mod attributes;
pub mod date;
pub mod name;
pub mod native_xml;
pub mod tag;
pub mod uid;

pub use attributes::{Attributes, Element, Value};
pub use date::{DicomDate, DicomTime, UtcOffset};
pub use dicom_core::Tag;
pub use dicom_dictionary_std::tags;
pub use name::{NameGroup, PersonName};
pub use uid::{SeriesUid, SopInstanceUid, StudyUid, Uid, UidError};
