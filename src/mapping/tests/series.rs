use super::*;

#[test]
fn a_series_has_the_elements_of_its_row() {
    let mapped = one_series(
        json!({
            "SeriesNumber": "2 ", "Modality": "ct", "SeriesDescription": " Thorax 1.0 ",
            "NumberOfSeriesRelatedInstances": "12", "BodyPartExamined": "CHEST", "Laterality": "L",
        }),
        None,
    );
    assert_eq!(
        mapped,
        json!({
            "uid": "1.2.3.4", "number": 2,
            "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"},
            "description": "Thorax 1.0", "numberOfInstances": 12,
            "bodySite": {"system": "http://snomed.info/sct", "code": "816094009", "display": "Chest"},
            "laterality": {"system": "http://snomed.info/sct", "code": "7771000", "display": "Left"},
        })
    );
}

#[test]
fn a_series_without_a_modality_has_an_unknown_modality() {
    let unknown = json!({"extension": [{
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown",
    }]});
    assert_eq!(one_series(json!({}), None)["modality"], unknown);
    assert_eq!(
        one_series(json!({"Modality": "Cat Scan!"}), None)["modality"],
        json!({"display": "CAT SCAN!"})
    );
}

#[test]
fn numbers_that_fhir_does_not_allow_are_omitted() {
    for number in [json!(-1), json!("-3"), json!("1.5"), json!("x"), json!(4_294_967_295_u32), json!("")] {
        assert_eq!(one_series(json!({"SeriesNumber": number}), None).get("number"), None, "{number}");
    }
    assert_eq!(one_series(json!({"SeriesNumber": 0}), None)["number"], 0);
}

#[test]
fn a_body_part_that_is_not_in_the_table_becomes_text() {
    let mapped = one_series(json!({"BodyPartExamined": "LINKES KNIE"}), None);
    assert_eq!(mapped["bodySite"], json!({"display": "LINKES KNIE"}));
}

#[test]
fn a_coded_region_takes_precedence_over_the_defined_term() {
    let region = |value: &str, scheme: &str| {
        let item =
            json!({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": "Knee region"});
        one_series(
            json!({"BodyPartExamined": "CHEST", "AnatomicRegionSequence": {"vr": "SQ", "Value": [item]}}),
            None,
        )["bodySite"]
            .take()
    };
    assert_eq!(
        region("72696002", "SCT"),
        json!({"system": "http://snomed.info/sct", "code": "72696002", "display": "Knee region"})
    );
    assert_eq!(region("T-D9200", "SRT")["code"], "72696002");
    assert_eq!(region("T-00000", "SRT"), json!({"display": "Knee region"}));
}

#[test]
fn the_laterality_of_images_is_used_only_if_all_are_equal() {
    let laterality = |values: &[&str]| {
        let instances: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(index, value)| json!({"SOPInstanceUID": format!("1.{index}"), "ImageLaterality": value}))
            .collect();
        one_series(json!({"ImageLaterality": "R"}), Some(json!(instances)))["laterality"]["display"].take()
    };
    assert_eq!(laterality(&["L", "L"]), "Left");
    assert_eq!(laterality(&["L", "R"]), Value::Null);
    assert_eq!(laterality(&["L", ""]), Value::Null);
}

#[test]
fn the_image_laterality_of_a_row_is_used_only_for_a_single_image() {
    let laterality = |count: u32| {
        let row = json!({"ImageLaterality": "R", "NumberOfSeriesRelatedInstances": count});
        one_series(row, None)["laterality"]["code"].take()
    };
    assert_eq!(laterality(1), "24028007");
    assert_eq!(laterality(4), Value::Null);
}

#[test]
fn physicians_and_operators_are_performers() {
    let mapped = one_series(
        json!({
            "PerformingPhysicianName": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
            "OperatorsName": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Ann"}, {"Alphabetic": "Poe^Bob"}]},
        }),
        None,
    );
    let performers: Vec<_> = mapped["performer"]
        .as_array()
        .unwrap()
        .iter()
        .map(|performer| {
            let coding = &performer["function"]["coding"][0];
            assert_eq!(coding["system"], "http://terminology.hl7.org/CodeSystem/v3-ParticipationType");
            (coding["code"].as_str().unwrap(), performer["actor"]["display"].as_str().unwrap())
        })
        .collect();
    assert_eq!(performers, [("PRF", "Jane Doe"), ("SPRF", "Ann Roe"), ("SPRF", "Bob Poe")]);
}

#[test]
fn the_equipment_is_a_performer_without_a_function() {
    let equipment = |members: Value| one_series(members, None)["performer"].take();
    let attributes = json!({
        "Manufacturer": "Acme ", "ManufacturerModelName": "Ring 3", "DeviceSerialNumber": "77", "StationName": "CT1",
    });
    assert_eq!(
        equipment(attributes),
        json!([{"actor": {
            "type": "Device",
            "identifier": {
                "type": {"coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "SNO", "display": "Serial Number",
                }]},
                "value": "77",
                "assigner": {"display": "Acme"},
            },
            "display": "Acme Ring 3 (CT1)",
        }}])
    );
    let actor = |members: Value| equipment(members)[0]["actor"].take();
    assert_eq!(actor(json!({"StationName": "CT1"})), json!({"type": "Device", "display": "CT1"}));
    assert_eq!(actor(json!({"Manufacturer": "Acme"})), json!({"type": "Device", "display": "Acme"}));
    let number = actor(json!({"DeviceSerialNumber": "77"}));
    assert_eq!((number["identifier"]["value"].as_str(), number.get("display")), (Some("77"), None));
    assert_eq!(equipment(json!({"Manufacturer": " ", "StationName": ""})), Value::Null);
}

#[test]
fn people_are_listed_before_the_equipment() {
    let mapped = one_series(
        json!({"Manufacturer": "Acme", "OperatorsName": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Ann"}]}}),
        None,
    );
    let displays: Vec<_> = mapped["performer"]
        .as_array()
        .unwrap()
        .iter()
        .map(|performer| performer["actor"]["display"].clone())
        .collect();
    assert_eq!(displays, ["Ann Roe", "Acme"]);
}

#[test]
fn missing_counts_are_computed() {
    let instances = Some(json!([{"SOPInstanceUID": "1.1"}, {"SOPInstanceUID": "1.2"}]));
    assert_eq!(one_series(json!({}), instances.clone())["numberOfInstances"], 2);
    let too_low = json!({"NumberOfSeriesRelatedInstances": 1});
    assert_eq!(one_series(too_low, instances)["numberOfInstances"], 2);
    assert_eq!(one_series(json!({}), None).get("numberOfInstances"), None);
}

#[test]
fn an_object_completes_the_row_of_its_series() {
    let mut series = row(json!({"Modality": "CT", "NumberOfSeriesRelatedInstances": 3}));
    let object = row(json!({"BodyPartExamined": "KNEE", "SeriesDescription": "", "PatientName": "Doe^Jane"}));
    overlay_series(&mut series, &object);
    assert_eq!(
        series,
        row(json!({"Modality": "CT", "NumberOfSeriesRelatedInstances": 3, "BodyPartExamined": "KNEE"}))
    );
}
