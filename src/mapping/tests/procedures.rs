use super::*;

/// Maps a study whose series refer to the procedure steps, given by UID and description.
fn procedure_reference(steps: &[(Option<&str>, Option<&str>)]) -> Value {
    let series = steps
        .iter()
        .map(|(uid, description)| {
            let items: Vec<_> = uid.iter().map(|uid| json!({"ReferencedSOPInstanceUID": uid})).collect();
            let sequence = json!({"vr": "SQ", "Value": items});
            series_source(
                json!({
                    "ReferencedPerformedProcedureStepSequence": sequence,
                    "PerformedProcedureStepDescription": description,
                }),
                None,
            )
        })
        .collect();
    study_with(&context(), &study_row(json!({})), Some(series))["procedureReference"].take()
}

#[test]
fn the_procedure_is_the_step_that_the_series_refer_to() {
    assert_eq!(
        procedure_reference(&[
            (None, Some("other")),
            (Some("1.2.7"), None),
            (Some("1.2.7"), Some("CT Thorax"))
        ]),
        json!({
            "type": "Procedure", "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.7"},
            "display": "CT Thorax",
        })
    );
}

#[test]
fn a_study_of_several_steps_has_no_procedure_reference() {
    assert_eq!(procedure_reference(&[(Some("1.2.7"), None), (Some("1.2.8"), None)]), Value::Null);
    assert_eq!(procedure_reference(&[(None, Some("CT Thorax"))]), Value::Null);
    assert_eq!(procedure_reference(&[(Some("no uid"), None)]), Value::Null);
}
