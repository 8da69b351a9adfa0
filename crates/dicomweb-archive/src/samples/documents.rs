//! Builds objects that refer to other objects of the study: a report, a key object selection, a presentation state.

use super::codes;
use super::declaration::{AttributeValue, Code};
use super::enhanced::reference;
use super::location::Location;
use super::object::Object;
use dicom_dictionary_std::tags;

/// Returns a Basic Text SR (PS3.3 A.35.1): findings and a conclusion on the first series of the study.
pub(super) fn report(location: &Location) -> Object {
    let source = location.source();
    let mut object = new_document(location, codes::REPORT, "SEPARATE");
    object.text(tags::COMPLETION_FLAG, "COMPLETE").text(tags::VERIFICATION_FLAG, "UNVERIFIED");
    let study = location.study;
    let study_accession =
        if let AttributeValue::Present(accession) = study.accession { Some(accession) } else { None };
    let requests: Vec<Object> = study_accession
        .iter()
        .chain(study.further_accessions)
        .map(|accession| {
            let mut item = object.item();
            item.text(tags::STUDY_INSTANCE_UID, &location.study_uid())
                .empty(tags::REFERENCED_STUDY_SEQUENCE)
                .text(tags::ACCESSION_NUMBER, accession)
                .empty(tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST)
                .empty(tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST)
                .text(tags::REQUESTED_PROCEDURE_ID, "RP1")
                .attribute(tags::REQUESTED_PROCEDURE_DESCRIPTION, study.description)
                .codes(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, study.procedures);
            if let Some(issuer) = study.accession_issuer {
                item.issuer(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, issuer);
            }
            item
        })
        .collect();
    if !requests.is_empty() {
        object.items(tags::REFERENCED_REQUEST_SEQUENCE, requests);
    }
    let language = code_item(&object, "HAS CONCEPT MOD", codes::LANGUAGE, codes::ENGLISH);
    let findings = {
        let mut findings = content_item(&object, "CONTAINS", "CONTAINER", codes::FINDINGS);
        findings.text(tags::CONTINUITY_OF_CONTENT, "SEPARATE");
        let finding = code_item(&findings, "CONTAINS", codes::FINDING, codes::NODULE);
        let observation =
            text_item(&findings, codes::FINDING, "A round spot that the phantom does not have.");
        let image_item = image_item(&findings, "CONTAINS", &source);
        findings.items(tags::CONTENT_SEQUENCE, [finding, observation, image_item]);
        findings
    };
    let conclusion =
        text_item(&object, codes::CONCLUSION, "A drawn thorax in good order. No patient was involved.");
    object.items(tags::CONTENT_SEQUENCE, [language, findings, conclusion]);
    object
}

/// Returns a Key Object Selection (PS3.3 A.35.4, PS3.16 TID 2010): images of the first series of the study.
pub(super) fn key_objects(location: &Location) -> Object {
    let mut object = new_document(location, codes::FOR_REFERRING_PROVIDER, "SEPARATE");
    object.single_item(tags::CONTENT_TEMPLATE_SEQUENCE, |template| {
        template.text(tags::MAPPING_RESOURCE, "DCMR").text(tags::TEMPLATE_IDENTIFIER, "2010");
    });
    let mut items = vec![text_item(&object, codes::KEY_OBJECT_DESCRIPTION, "The slices worth a look.")];
    items.extend(
        location.source().instances().step_by(4).map(|slice| image_item(&object, "CONTAINS", &slice)),
    );
    object.items(tags::CONTENT_SEQUENCE, items);
    object
}

/// Returns a Grayscale Softcopy Presentation State (PS3.3 A.33.1): a window, and a circle with a text annotation.
pub(super) fn presentation_state(location: &Location) -> Object {
    let source = location.source();
    let size = source.series.size;
    let mut object = location.object();
    object
        .text(tags::CONTENT_LABEL, "MARKED")
        .attribute(tags::CONTENT_DESCRIPTION, location.series.description)
        .attribute(tags::PRESENTATION_CREATION_DATE, location.study.date)
        .attribute(tags::PRESENTATION_CREATION_TIME, location.study.time)
        .text(tags::CONTENT_CREATOR_NAME, "Sample^Writer")
        .text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY");
    let images: Vec<Object> = source.instances().map(|slice| reference(&object, &slice)).collect();
    object
        .single_item(tags::REFERENCED_SERIES_SEQUENCE, |series| {
            series
                .text(tags::SERIES_INSTANCE_UID, &source.series_uid())
                .items(tags::REFERENCED_IMAGE_SEQUENCE, images);
        })
        .single_item(tags::SOFTCOPY_VOILUT_SEQUENCE, |window| {
            window.text(tags::WINDOW_CENTER, "-600").text(tags::WINDOW_WIDTH, "1500");
        })
        .single_item(tags::GRAPHIC_LAYER_SEQUENCE, |layer| {
            layer.text(tags::GRAPHIC_LAYER, "LAYER1").text(tags::GRAPHIC_LAYER_ORDER, "1");
        })
        .single_item(tags::GRAPHIC_ANNOTATION_SEQUENCE, |annotation| {
            let (middle, edge) = (f32::from(size) / 2.0, f32::from(size) / 2.0 + 6.0);
            annotation
                .text(tags::GRAPHIC_LAYER, "LAYER1")
                .single_item(tags::GRAPHIC_OBJECT_SEQUENCE, |circle| {
                    circle
                        .text(tags::GRAPHIC_ANNOTATION_UNITS, "PIXEL")
                        .word(tags::GRAPHIC_DIMENSIONS, 2)
                        .word(tags::NUMBER_OF_GRAPHIC_POINTS, 2)
                        .singles(tags::GRAPHIC_DATA, &[middle, middle, edge, middle])
                        .text(tags::GRAPHIC_TYPE, "CIRCLE")
                        .text(tags::GRAPHIC_FILLED, "N");
                })
                .single_item(tags::TEXT_OBJECT_SEQUENCE, |text| {
                    text.text(tags::ANCHOR_POINT_ANNOTATION_UNITS, "PIXEL")
                        .text(tags::UNFORMATTED_TEXT_VALUE, "Here")
                        .singles(tags::ANCHOR_POINT, &[edge, middle])
                        .text(tags::ANCHOR_POINT_VISIBILITY, "Y");
                });
        });
    add_displayed_area(&mut object, size);
    object
}

/// Adds the displayed area: the whole image, scaled to fit (PS3.3 C.10.4). Its corners are signed 32-bit integers.
fn add_displayed_area(object: &mut Object, size: u16) {
    object.single_item(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, |area| {
        area.signed_longs(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, &[1, 1])
            .signed_longs(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, &[i32::from(size), i32::from(size)])
            .text(tags::PRESENTATION_SIZE_MODE, "SCALE TO FIT")
            .texts(tags::PRESENTATION_PIXEL_ASPECT_RATIO, &["1", "1"]);
    });
}

/// Returns an object with SR Document General and the root of the content tree (PS3.3 C.17.2, C.17.3).
fn new_document(location: &Location, title: Code, continuity: &str) -> Object {
    let source = location.source();
    let mut object = location.object();
    object
        .attribute(tags::CONTENT_DATE, location.study.date)
        .attribute(tags::CONTENT_TIME, location.study.time)
        .empty(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE)
        .empty(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE)
        .text(tags::VALUE_TYPE, "CONTAINER")
        .codes(tags::CONCEPT_NAME_CODE_SEQUENCE, &[title])
        .text(tags::CONTINUITY_OF_CONTENT, continuity);
    let images: Vec<Object> = source.instances().map(|slice| reference(&object, &slice)).collect();
    object.single_item(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, |study| {
        study.text(tags::STUDY_INSTANCE_UID, &location.study_uid()).single_item(
            tags::REFERENCED_SERIES_SEQUENCE,
            |series| {
                series
                    .text(tags::SERIES_INSTANCE_UID, &source.series_uid())
                    .items(tags::REFERENCED_SOP_SEQUENCE, images);
            },
        );
    });
    object
}

fn content_item(parent: &Object, relationship: &str, value_type: &str, concept: Code) -> Object {
    let mut item = parent.item();
    item.text(tags::RELATIONSHIP_TYPE, relationship)
        .text(tags::VALUE_TYPE, value_type)
        .codes(tags::CONCEPT_NAME_CODE_SEQUENCE, &[concept]);
    item
}

fn code_item(parent: &Object, relationship: &str, concept: Code, value: Code) -> Object {
    let mut item = content_item(parent, relationship, "CODE", concept);
    item.codes(tags::CONCEPT_CODE_SEQUENCE, &[value]);
    item
}

fn text_item(parent: &Object, concept: Code, text: &str) -> Object {
    let mut item = content_item(parent, "CONTAINS", "TEXT", concept);
    item.text(tags::TEXT_VALUE, text);
    item
}

fn image_item(parent: &Object, relationship: &str, instance: &Location) -> Object {
    let mut item = parent.item();
    let referenced = reference(parent, instance);
    item.text(tags::RELATIONSHIP_TYPE, relationship)
        .text(tags::VALUE_TYPE, "IMAGE")
        .items(tags::REFERENCED_SOP_SEQUENCE, [referenced]);
    item
}
