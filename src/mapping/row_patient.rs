//! The patient of a row, compared with those of other rows with the same Study Instance UID.
//!
//! Rows with a Patient ID are compared by it ([`PatientKey`]). Other rows are compared by family name, given name and birth
//! date, as far as both rows have them, without case and accents. This module does not select the rows to compare.

use super::PatientKey;
use dicom_model::{Attributes, ComponentGroup, DicomDate, PersonName, tags};
use fhir_r4::search::normalize;

/// The patient of a row of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPatient {
    archive: String,
    key: PatientKey,
    name: Option<PersonName>,
    birth_date: Option<DicomDate>,
}

impl RowPatient {
    /// Creates the patient with `key` of `row`, a row of `archive`.
    pub fn new(archive: &str, key: PatientKey, row: &Attributes) -> Self {
        Self {
            archive: archive.to_owned(),
            key,
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
        let has_other_birth_date =
            matches!((self.birth_date, other.birth_date), (Some(one), Some(other)) if one != other);
        let has_other_name =
            matches!((&self.name, &other.name), (Some(one), Some(other)) if are_different(one, other));
        has_other_birth_date || has_other_name
    }

    /// Returns the size of the texts of the patient in memory, in bytes.
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
