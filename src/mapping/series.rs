//! ImagingStudy.series.

use std::borrow::Cow;

use super::people::person_references;
use super::profiles::Guide;
use super::record::{SeriesRecord, count, number};
use super::terminology::{body_part, laterality};
use super::{MappedInstance, MappingContext, coding, dates, equipment, specimens};
use dicom_model::{Attributes, tags};
use fhir_r4::types::{CodeableConcept, Coding, Performer, Reference, Series, to_fhir_string};

/// R4 valueset-series-performer-function.
const PARTICIPATION_TYPE_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

pub(super) fn map_series(context: &MappingContext, study: &Attributes, source: SeriesRecord) -> Series {
    let SeriesRecord { uid, attributes, instances } = source;
    let with_frame_counts = context.follows(Guide::EuImaging);
    let instance_count = instances.as_ref().map(Vec::len);
    Series {
        uid: uid.as_str().to_owned(),
        number: number(&attributes, tags::SERIES_NUMBER),
        modality: attributes.text(tags::MODALITY).and_then(coding::modality).unwrap_or_else(Coding::unknown),
        description: attributes.text(tags::SERIES_DESCRIPTION).and_then(to_fhir_string),
        number_of_instances: count(&attributes, tags::NUMBER_OF_SERIES_RELATED_INSTANCES, instance_count),
        body_site: body_site(&attributes),
        laterality: laterality_of(&attributes, instances.as_deref()),
        specimen: specimens::specimens(
            context,
            instances.iter().flatten().flat_map(|instance| instance.specimens.iter()),
        ),
        started: started(context, study, &attributes),
        performer: performers(&attributes),
        instance: instances
            .unwrap_or_default()
            .into_iter()
            .filter_map(|instance| instance.into_resource(with_frame_counts))
            .collect(),
        ..Series::default()
    }
}

/// Maps the coded body region, else the defined term. A term that is not in PS3.16 Annex L becomes text.
fn body_site(attributes: &Attributes) -> Option<Coding> {
    let region = attributes.items(tags::ANATOMIC_REGION_SEQUENCE).find_map(coding::coding_or_meaning);
    region.or_else(|| {
        let term = attributes.text(tags::BODY_PART_EXAMINED).and_then(to_fhir_string)?;
        Some(match body_part::snomed_ct(&term) {
            Some((code, meaning)) => Coding::new(coding::SNOMED_CT, code, Some(Cow::Borrowed(meaning))),
            None => Coding::from_display(term),
        })
    })
}

/// Maps the laterality of the series, else the laterality that all of its images have. A mammography of both breasts has none.
fn laterality_of(attributes: &Attributes, instances: Option<&[MappedInstance]>) -> Option<Coding> {
    let image_laterality = || match instances {
        Some(instances) if instances.iter().any(|instance| instance.laterality.is_some()) => {
            let first = instances.first()?.laterality.as_deref();
            instances.iter().all(|instance| instance.laterality.as_deref() == first).then_some(first)?
        }
        // It is unknown which image a value in a row refers to, unless the series has only one image.
        _ => {
            let count = number(attributes, tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
            attributes.text(tags::IMAGE_LATERALITY).filter(|_| count == Some(1))
        }
    };
    let term = attributes.text(tags::LATERALITY).or_else(image_laterality).and_then(to_fhir_string)?;
    Some(match laterality::snomed_ct(&term) {
        Some((code, meaning)) => Coding::new(coding::SNOMED_CT, code, Some(Cow::Borrowed(meaning))),
        None => Coding::from_display(term),
    })
}

/// Maps the start of the series, else the start of its procedure step.
fn started(context: &MappingContext, study: &Attributes, attributes: &Attributes) -> Option<String> {
    [
        (tags::SERIES_DATE, tags::SERIES_TIME),
        (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
    ]
    .into_iter()
    .find_map(|date_and_time| dates::date_time(context, study, attributes, date_and_time))
}

fn performers(attributes: &Attributes) -> Vec<Performer> {
    let performer = |code: &'static str, display: &'static str| {
        move |actor: Reference| Performer {
            function: Some(CodeableConcept::from_codings(vec![Coding::new(
                PARTICIPATION_TYPE_SYSTEM,
                code,
                Some(Cow::Borrowed(display)),
            )])),
            actor,
            ..Performer::default()
        }
    };
    let physicians = person_references(
        attributes,
        tags::PERFORMING_PHYSICIAN_NAME,
        tags::PERFORMING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
    )
    .into_iter()
    .map(performer("PRF", "performer"));
    let operators =
        person_references(attributes, tags::OPERATORS_NAME, tags::OPERATOR_IDENTIFICATION_SEQUENCE)
            .into_iter()
            .map(performer("SPRF", "secondary performer"));
    physicians.chain(operators).chain(equipment::performer(attributes)).collect()
}
