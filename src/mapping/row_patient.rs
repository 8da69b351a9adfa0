//! The patient of a row, compared with those of other rows with the same Study Instance UID, and with those that the series and
//! the instances of the study name.
//!
//! Rows with a Patient ID are compared by it ([`PatientKey`]). Without one the name and the birth date remain, as far as both rows
//! have them: the family name and the given name, without case and accents. Below the study only Patient IDs are compared, because
//! most archives omit the patient there. This module does not select the rows to compare.

use super::{MappingContext, PatientKey};
use dicom_model::{Attributes, ComponentGroup, DicomDate, PersonName, Tag, tags};
use fhir_r4::search::normalize;

/// The attributes by which a row or an object below the study names its patient.
pub const NAMED_PATIENT_TAGS: [Tag; 3] =
    [tags::PATIENT_ID, tags::ISSUER_OF_PATIENT_ID, tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE];

/// The patient of a row of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPatient {
    archive: String,
    key: PatientKey,
    /// Whether the row has an issuer of its Patient ID, so that the configured system is not assumed.
    has_issuer: bool,
    name: Option<PersonName>,
    birth_date: Option<DicomDate>,
}

impl RowPatient {
    /// Returns the patient of `row`, a row of the archive of `context`.
    pub fn from_row(context: &MappingContext, row: &Attributes) -> Self {
        Self::new(&context.archive, PatientKey::from_row(context, row), row)
    }

    /// Creates the patient with `key` of `row`, a row of `archive`.
    pub fn new(archive: &str, key: PatientKey, row: &Attributes) -> Self {
        Self {
            archive: archive.to_owned(),
            key,
            has_issuer: row.text(tags::ISSUER_OF_PATIENT_ID).is_some()
                || row.items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE).next().is_some(),
            name: row.name(tags::PATIENT_NAME).cloned(),
            birth_date: row.text(tags::PATIENT_BIRTH_DATE).and_then(DicomDate::parse),
        }
    }

    /// Whether two rows with the same Study Instance UID belong to different patients. A row of another archive without a Patient ID
    /// may belong to any patient whose name and birth date do not differ.
    pub fn contradicts(&self, other: &Self) -> bool {
        if self.archive == other.archive && self.key != other.key {
            return true;
        }
        if self.key.has_patient_id() && other.key.has_patient_id() {
            return self.key.contradicts(&other.key);
        }
        self.is_another_person(other)
    }

    /// Whether the name or the birth date, as far as both rows have them, differ.
    fn is_another_person(&self, other: &Self) -> bool {
        let has_other_birth_date =
            matches!((self.birth_date, other.birth_date), (Some(one), Some(other)) if one != other);
        let has_other_name =
            matches!((&self.name, &other.name), (Some(one), Some(other)) if are_different(one, other));
        has_other_birth_date || has_other_name
    }

    /// Compares the patient of a study with that of `part`, a series or an instance of it in the same archive. Returns whether they
    /// may be the same: an attribute that one of the rows lacks is not compared. A study without a Patient ID is compared by name and birth
    /// date, and takes the Patient ID of the first part that has one, so that the next part is compared with it.
    pub fn includes(&mut self, part: &Self) -> bool {
        if !part.key.has_patient_id() {
            return true;
        }
        if !self.key.has_patient_id() {
            if self.is_another_person(part) {
                return false;
            }
            self.key = part.key.clone();
            self.has_issuer = part.has_issuer;
            return true;
        }
        if self.has_issuer && part.has_issuer {
            !self.key.contradicts(&part.key)
        } else {
            self.key.has_same_value(&part.key)
        }
    }

    /// Whether the row has a Patient ID.
    pub fn has_patient_id(&self) -> bool {
        self.key.has_patient_id()
    }

    /// Returns the size of its texts in memory, in bytes.
    pub fn text_len(&self) -> usize {
        let groups = self.name.iter().flat_map(|name| [&name.alphabetic, &name.ideographic, &name.phonetic]);
        let name_len = groups.flatten().map(group_len).sum::<usize>();
        self.archive.len() + self.key.text_len() + name_len
    }
}

fn group_len(group: &ComponentGroup) -> usize {
    [&group.family, &group.given, &group.middle, &group.prefix, &group.suffix]
        .iter()
        .map(|component| component.len())
        .sum()
}

/// Whether the names differ in the first component group that both have. A component that one of them lacks is not compared.
fn are_different(one: &PersonName, other: &PersonName) -> bool {
    let groups = [
        (&one.alphabetic, &other.alphabetic),
        (&one.ideographic, &other.ideographic),
        (&one.phonetic, &other.phonetic),
    ];
    let Some((one, other)) = groups.into_iter().find_map(|(one, other)| one.as_ref().zip(other.as_ref()))
    else {
        return false;
    };
    [(&one.family, &other.family), (&one.given, &other.given)].into_iter().any(|(one, other)| {
        let (one, other) = (normalize(one), normalize(other));
        !one.is_empty() && !other.is_empty() && one != other
    })
}
