//! The location of an object in the declarations, its UIDs, and the attributes of all objects of a patient, study and series (PS3.3
//! C.7). This module does not know about pixel data.

use super::declaration::{AttributeValue, Kind, Patient, SeriesDeclaration, StudyDeclaration};
use super::object::Object;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_model::charset::CharacterSets;
use std::rc::Rc;

#[expect(deprecated, reason = "retired in DICOM, but modalities still write it")]
const STUDY_COMMENTS: Tag = tags::STUDY_COMMENTS;

/// The root of all sample UIDs: an OID derived from a UUID (ITU-T X.667, PS3.5 B.2), whose number is the 128 bits of the ASCII text
/// "dicomweb-gateway". The numbers of patient, study, series and instance are appended to it.
pub const ROOT: &str = "2.25.133470007535392751803217985031206560121";

/// The location of an object: indices from 0, and the declarations at these indices.
#[derive(Clone, Copy)]
pub(super) struct Location {
    pub(super) patient: &'static Patient,
    pub(super) study: &'static StudyDeclaration,
    pub(super) series: &'static SeriesDeclaration,
    pub(super) positions: [usize; 4],
}

impl Location {
    pub(super) fn study_uid(&self) -> String {
        self.uid(2)
    }

    pub(super) fn series_uid(&self) -> String {
        self.uid(3)
    }

    pub(super) fn instance_uid(&self) -> String {
        self.uid(4)
    }

    /// Returns the Frame of Reference UID of the images of the study.
    pub(super) fn frame_of_reference_uid(&self) -> String {
        format!("{}.0", self.uid(2))
    }

    fn uid(&self, depth: usize) -> String {
        let mut uid = ROOT.to_owned();
        for position in &self.positions[..depth] {
            uid.push('.');
            uid.push_str(&(position + 1).to_string());
        }
        uid
    }

    /// Returns the first series of the study, to which reports and segmentations refer.
    pub(super) fn source(&self) -> Self {
        let [patient, study, ..] = self.positions;
        Self {
            series: self.study.series.first().unwrap_or(self.series),
            positions: [patient, study, 0, 0],
            ..*self
        }
    }

    /// Returns all instances of the series.
    pub(super) fn instances(&self) -> impl Iterator<Item = Self> {
        let location = *self;
        let [patient, study, series, _] = self.positions;
        (0..usize::from(self.series.instances))
            .map(move |instance| Self { positions: [patient, study, series, instance], ..location })
    }

    /// Returns the relative position of the instance in its series, from 0.0 to 1.0.
    pub(super) fn relative_position(&self) -> f64 {
        fraction(self.positions[3], usize::from(self.series.instances))
    }

    /// Returns the SOP class of the objects of the series.
    pub(super) fn sop_class(&self) -> &'static str {
        match self.series.kind {
            Kind::Ct => uids::CT_IMAGE_STORAGE,
            Kind::Mr => uids::MR_IMAGE_STORAGE,
            Kind::EnhancedMr => uids::ENHANCED_MR_IMAGE_STORAGE,
            Kind::Us => uids::ULTRASOUND_IMAGE_STORAGE,
            Kind::UsMultiFrame => uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
            Kind::Cr => uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
            Kind::Dx => uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
            Kind::Mg => uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
            Kind::Xa => uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE,
            Kind::Pt => uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
            Kind::Seg => uids::SEGMENTATION_STORAGE,
            Kind::Sr => uids::BASIC_TEXT_SR_STORAGE,
            Kind::Ko => uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
            Kind::Pr => uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
        }
    }

    /// Returns an object with the attributes of patient, study, series, equipment and SOP Common.
    pub(super) fn object(&self) -> Object {
        let sets = Rc::new(CharacterSets::from_terms(self.patient.character_sets.iter().copied()));
        let mut object = Object::new(&sets);
        if !self.patient.character_sets.is_empty() {
            object.text(tags::SPECIFIC_CHARACTER_SET, &self.patient.character_sets.join("\\"));
        }
        object.text(tags::SOP_CLASS_UID, self.sop_class()).text(tags::SOP_INSTANCE_UID, &self.instance_uid());
        object.number(tags::INSTANCE_NUMBER, self.positions[3] + 1);
        self.add_patient(&mut object);
        self.add_study(&mut object);
        self.add_series(&mut object);
        self.add_performed_step(&mut object);
        self.add_specimens(&mut object);
        object
    }

    fn add_patient(&self, object: &mut Object) {
        let patient = self.patient;
        object
            .attribute(tags::PATIENT_NAME, patient.name)
            .attribute(tags::PATIENT_ID, patient.id)
            .attribute(tags::PATIENT_BIRTH_DATE, patient.birth_date)
            .attribute(tags::PATIENT_SEX, patient.sex);
        let Some(issuer) = patient.issuer else { return };
        object.text(tags::ISSUER_OF_PATIENT_ID, issuer.local);
        if let Some(oid) = issuer.universal {
            object.single_item(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, |item| {
                item.text(tags::UNIVERSAL_ENTITY_ID, oid).text(tags::UNIVERSAL_ENTITY_ID_TYPE, "ISO");
            });
        }
    }

    fn add_study(&self, object: &mut Object) {
        let study = self.study;
        object
            .text(tags::STUDY_INSTANCE_UID, &self.study_uid())
            .attribute(tags::STUDY_DATE, study.date)
            .attribute(tags::STUDY_TIME, study.time)
            .attribute(tags::TIMEZONE_OFFSET_FROM_UTC, study.zone)
            .attribute(tags::STUDY_ID, study.id)
            .attribute(tags::ACCESSION_NUMBER, study.accession)
            .attribute(tags::STUDY_DESCRIPTION, study.description)
            .attribute(tags::REFERRING_PHYSICIAN_NAME, study.referrer)
            .texts(tags::NAME_OF_PHYSICIANS_READING_STUDY, study.readers)
            .codes(tags::PROCEDURE_CODE_SEQUENCE, study.procedures)
            .attribute(tags::ADMISSION_ID, study.admission)
            .attribute(tags::CURRENT_PATIENT_LOCATION, study.patient_location)
            .attribute(STUDY_COMMENTS, study.comments);
        if let Some(issuer) = study.admission_issuer {
            object.issuer(tags::ISSUER_OF_ADMISSION_ID_SEQUENCE, issuer);
        }
        if let Some(issuer) = study.accession_issuer {
            object.issuer(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, issuer);
        }
        if let Some((number, institution)) = study.referrer_identification {
            object.single_item(tags::REFERRING_PHYSICIAN_IDENTIFICATION_SEQUENCE, |item| {
                item.single_item(tags::PERSON_IDENTIFICATION_CODE_SEQUENCE, |code| {
                    code.text(tags::CODE_VALUE, number)
                        .text(tags::CODING_SCHEME_DESIGNATOR, "99DEMO")
                        .text(tags::CODE_MEANING, "Staff number");
                })
                .text(tags::INSTITUTION_NAME, institution);
            });
        }
    }

    fn add_series(&self, object: &mut Object) {
        let (study, series) = (self.study, self.series);
        object
            .text(tags::SERIES_INSTANCE_UID, &self.series_uid())
            .number(tags::SERIES_NUMBER, self.positions[2] + 1)
            .attribute(tags::SERIES_DATE, only_if_present(study.date))
            .attribute(tags::SERIES_TIME, only_if_present(study.time))
            .attribute(tags::SERIES_DESCRIPTION, series.description)
            .attribute(tags::BODY_PART_EXAMINED, series.body_part)
            .attribute(tags::PROTOCOL_NAME, series.protocol)
            .texts(tags::PERFORMING_PHYSICIAN_NAME, series.performers)
            .texts(tags::OPERATORS_NAME, series.operators)
            .text(tags::MANUFACTURER, "dicomweb-gateway samples")
            .text(tags::MANUFACTURER_MODEL_NAME, "Phantom")
            .text(tags::STATION_NAME, "DEMO")
            .attribute(tags::DEVICE_SERIAL_NUMBER, series.serial_number)
            .attribute(tags::INSTITUTION_NAME, study.institution)
            .attribute(tags::INSTITUTIONAL_DEPARTMENT_NAME, study.department)
            .attribute(tags::COMMENTS_ON_THE_PERFORMED_PROCEDURE_STEP, series.comments);
        if series.has_modality {
            object.text(tags::MODALITY, series.kind.modality());
        }
        // Laterality is an attribute of the image in mammograms (PS3.3 C.8.11.7.1.1), and of the series for other images.
        object.attribute(
            if series.kind == Kind::Mg { tags::IMAGE_LATERALITY } else { tags::LATERALITY },
            series.laterality,
        );
        if let Some(region) = series.region {
            object.codes(tags::ANATOMIC_REGION_SEQUENCE, &[region]);
        }
        if !study.reasons.is_empty() || study.reason != AttributeValue::Absent {
            object.single_item(tags::REQUEST_ATTRIBUTES_SEQUENCE, |item| {
                item.text(tags::REQUESTED_PROCEDURE_ID, "RP1")
                    .text(tags::SCHEDULED_PROCEDURE_STEP_ID, "SPS1")
                    .attribute(tags::ACCESSION_NUMBER, study.accession)
                    .attribute(tags::REASON_FOR_THE_REQUESTED_PROCEDURE, study.reason)
                    .codes(tags::REASON_FOR_REQUESTED_PROCEDURE_CODE_SEQUENCE, study.reasons)
                    .codes(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, study.procedures);
            });
        }
    }
}

impl Location {
    /// Adds the Modality Performed Procedure Step, which is the same for every series of the study (PS3.3 C.7.3.1).
    fn add_performed_step(&self, object: &mut Object) {
        if self.study.performed_step == AttributeValue::Absent {
            return;
        }
        let uid = format!("{}.0.1", self.study_uid());
        object.attribute(tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION, self.study.performed_step).single_item(
            tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE,
            |step| {
                step.text(tags::REFERENCED_SOP_CLASS_UID, uids::MODALITY_PERFORMED_PROCEDURE_STEP)
                    .text(tags::REFERENCED_SOP_INSTANCE_UID, &uid);
            },
        );
    }

    /// Adds the specimens that the images show (PS3.3 C.7.6.22).
    fn add_specimens(&self, object: &mut Object) {
        let specimens = self.series.specimens;
        if specimens.is_empty() {
            return;
        }
        let items: Vec<Object> = specimens
            .iter()
            .enumerate()
            .map(|(position, specimen)| {
                let mut item = object.item();
                item.text(tags::SPECIMEN_IDENTIFIER, specimen.id)
                    .text(tags::SPECIMEN_UID, &format!("{}.0.{}", self.series_uid(), position + 1))
                    .attribute(tags::SPECIMEN_SHORT_DESCRIPTION, specimen.description);
                match specimen.issuer {
                    Some(issuer) => item.issuer(tags::ISSUER_OF_THE_SPECIMEN_IDENTIFIER_SEQUENCE, issuer),
                    None => item.empty(tags::ISSUER_OF_THE_SPECIMEN_IDENTIFIER_SEQUENCE),
                };
                if let Some(kind) = specimen.kind {
                    item.codes(tags::SPECIMEN_TYPE_CODE_SEQUENCE, &[kind]);
                }
                item.empty(tags::SPECIMEN_PREPARATION_SEQUENCE);
                item
            })
            .collect();
        object
            .text(tags::CONTAINER_IDENTIFIER, "C1")
            .empty(tags::ISSUER_OF_THE_CONTAINER_IDENTIFIER_SEQUENCE)
            .empty(tags::CONTAINER_TYPE_CODE_SEQUENCE)
            .items(tags::SPECIMEN_DESCRIPTION_SEQUENCE, items);
    }
}

/// Returns the relative position of `position` among `count`, from 0.0 to 1.0.
pub(super) fn fraction(position: usize, count: usize) -> f64 {
    let number = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    if count > 1 { number(position) / number(count - 1) } else { 0.5 }
}

/// Returns `Absent` instead of an empty value, for an optional attribute.
fn only_if_present(value: AttributeValue) -> AttributeValue {
    if let AttributeValue::Present(_) = value { value } else { AttributeValue::Absent }
}
