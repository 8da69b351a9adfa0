use super::*;

fn started(context: &MappingContext, members: Value) -> Value {
    study_with(context, &study_row(members), None)["started"].take()
}

#[test]
fn a_date_without_a_time_is_mapped_to_a_date() {
    assert_eq!(started(&context(), json!({"StudyDate": "20240131"})), "2024-01-31");
    assert_eq!(started(&context(), json!({"StudyDate": "1994.01.30"})), "1994-01-30");
}

#[test]
fn a_time_without_a_zone_becomes_a_date() {
    assert_eq!(started(&context(), json!({"StudyDate": "20240131", "StudyTime": "101500"})), "2024-01-31");
}

#[test]
fn the_offset_of_the_object_takes_precedence_over_the_configured_zone() {
    let with_offset =
        json!({"StudyDate": "20240131", "StudyTime": "101500", "TimezoneOffsetFromUTC": "-0330"});
    assert_eq!(started(&context_in_zone("Europe/Berlin"), with_offset), "2024-01-31T10:15:00-03:30");
}

#[test]
fn the_configured_zone_applies_daylight_saving_time() {
    let at =
        |day| started(&context_in_zone("Europe/Berlin"), json!({"StudyDate": day, "StudyTime": "101500"}));
    assert_eq!(at("20240131"), "2024-01-31T10:15:00+01:00");
    assert_eq!(at("20240731"), "2024-07-31T10:15:00+02:00");
}

#[test]
fn an_hour_that_occurs_twice_or_never_has_no_certain_offset() {
    let at =
        |day, time| started(&context_in_zone("Europe/Berlin"), json!({"StudyDate": day, "StudyTime": time}));
    assert_eq!(at("20241027", "023000"), "2024-10-27");
    assert_eq!(at("20240331", "023000"), "2024-03-31");
    assert_eq!(at("20240331", "033000"), "2024-03-31T03:30:00+02:00");
}

#[test]
fn a_time_whose_offset_has_seconds_becomes_a_date() {
    let at =
        |day| started(&context_in_zone("Europe/Amsterdam"), json!({"StudyDate": day, "StudyTime": "1200"}));
    assert_eq!(at("18800101"), "1880-01-01");
}

#[test]
fn missing_seconds_become_zero_and_the_digits_of_fractions_are_kept() {
    let at = |time| {
        let with_offset =
            json!({"StudyDate": "20240131", "StudyTime": time, "TimezoneOffsetFromUTC": "+0000"});
        started(&context(), with_offset)
    };
    assert_eq!(at("1015"), "2024-01-31T10:15:00Z");
    assert_eq!(at("101530.250000"), "2024-01-31T10:15:30.250000Z");
    assert_eq!(at("101530.000"), "2024-01-31T10:15:30.000Z");
    assert_eq!(at("165447.788280 "), "2024-01-31T16:54:47.788280Z");
    assert_eq!(at("10"), "2024-01-31");
    assert_eq!(at("nonsense"), "2024-01-31");
}

#[test]
fn an_invalid_date_is_omitted() {
    for day in ["20230229", "00000101", "2024", "", "20241301"] {
        assert_eq!(started(&context(), json!({"StudyDate": day})), Value::Null, "{day}");
    }
}

#[test]
fn a_series_without_a_start_has_the_start_of_its_procedure_step() {
    let series =
        one_series(json!({"SeriesDate": "20240201", "PerformedProcedureStepStartDate": "20240131"}), None);
    assert_eq!(series["started"], "2024-02-01");
    let step = one_series(json!({"PerformedProcedureStepStartDate": "20240131"}), None);
    assert_eq!(step["started"], "2024-01-31");
}

#[test]
fn a_series_without_an_offset_has_the_offset_of_the_study() {
    let study = study_row(json!({"TimezoneOffsetFromUTC": "+0900"}));
    let source = series_source(json!({"SeriesDate": "20240201", "SeriesTime": "0800"}), None);
    let mapped = study_with(&context_in_zone("Europe/Berlin"), &study, Some(vec![source]));
    assert_eq!(mapped["series"][0]["started"], "2024-02-01T08:00:00+09:00");
}
