//! DICOM data as Rust types: tags, UIDs, dates, person names, character sets, objects in the file format (PS3.10), pixel data
//! (PS3.5 8), the DICOM JSON Model (PS3.18 Annex F) and the Native DICOM Model in XML (PS3.19 A.1).
//!
//! Readers are tolerant: real archives write numbers as strings and strings as numbers, keywords instead of tags, names as one
//! string, `null`s and padding. Rows are rejected only if they are not JSON objects. This crate does not know about FHIR, sockets
//! or the clock.

pub mod charset;
pub mod data_set;
pub mod encapsulated_pixel_data;
pub mod json;
pub mod metadata;
pub mod native_pixel_data;
pub mod part10;

pub mod attributes;
pub mod date;
pub mod name;
pub mod native_xml;
pub mod tag;
pub mod uid;

pub use attributes::{Attributes, Element, ElementOf, Value};
pub use date::{DicomDate, DicomTime, SecondFraction, UtcOffset};
pub use dicom_core::Tag;
pub use dicom_dictionary_std::tags;
pub use name::{ComponentGroup, PersonName};
pub use uid::{SeriesUid, SopInstanceUid, StudyUid, Uid, UidError, UidRule};
