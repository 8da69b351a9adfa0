use super::*;

/// A study with the procedure step that each of its series refers to, by UID and description.
fn of_steps(steps: &[(Option<&str>, Option<&str>)]) -> Value {
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
fn the_procedure_is_the_step_that_the_series_belong_to() {
    assert_eq!(
        of_steps(&[(None, Some("other")), (Some("1.2.7"), None), (Some("1.2.7"), Some("CT Thorax"))]),
        json!({
            "type": "Procedure", "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.7"},
            "display": "CT Thorax",
        })
    );
}

#[test]
fn a_study_of_several_steps_refers_to_none_of_them() {
    assert_eq!(of_steps(&[(Some("1.2.7"), None), (Some("1.2.8"), None)]), Value::Null);
    assert_eq!(of_steps(&[(None, Some("CT Thorax"))]), Value::Null);
    assert_eq!(of_steps(&[(Some("no uid"), None)]), Value::Null);
}
