use proptest::prelude::*;

use super::*;

const CONTEXT: Context<'static> =
    Context { base: "https://h/fhir", handling: Handling::Lenient, default_count: 50, max_count: 200 };

fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn studies(query: &str) -> Result<Search<StudyCriterion>, Vec<SearchError>> {
    Search::parse(IMAGING_STUDY_PARAMETERS, &pairs(query), &CONTEXT)
}

#[test]
fn each_parameter_becomes_a_typed_criterion() {
    let criterion = |query| studies(query).unwrap().criteria.pop().unwrap();
    assert!(matches!(criterion("_id=1.2,1.3"), StudyCriterion::Id(ids) if ids.len() == 2));
    assert!(matches!(criterion("identifier=urn:dicom:uid|urn:oid:1.2"), StudyCriterion::Identifier(_)));
    for query in ["patient=a", "patient=Patient/a", "subject:Patient=a", "subject=https://h/fhir/Patient/a"] {
        assert_eq!(
            criterion(query),
            StudyCriterion::Patient(vec![PatientReference::Own("a".to_owned())]),
            "{query}"
        );
    }
    for query in [
        "patient.identifier=s|a",
        "patient:identifier=s|a",
        "subject:Patient.identifier=s|a",
        "subject.identifier=s|a",
    ] {
        assert!(matches!(criterion(query), StudyCriterion::PatientIdentifier(_)), "{query}");
    }
    assert!(
        matches!(criterion("started=ge2024-01"), StudyCriterion::Started(dates) if dates[0].0 == crate::fhir::date::Prefix::GreaterOrEqual)
    );
}

#[test]
fn repetition_means_and() {
    assert_eq!(studies("started=ge2024&started=lt2025").unwrap().criteria.len(), 2);
}

#[test]
fn what_is_unknown_is_left_out_and_named_or_refused() {
    let search = studies("foo=1&patient=a&bar:x=2&foo=3").unwrap();
    assert_eq!(search.ignored, ["foo", "bar:x"]);
    assert_eq!(search.applied, [("patient".to_owned(), "a".to_owned())]);
    let strict = Context { handling: Handling::Strict, ..CONTEXT };
    let errors = Search::parse(IMAGING_STUDY_PARAMETERS, &pairs("foo=1"), &strict).unwrap_err();
    assert_eq!((errors[0].parameter.as_str(), errors[0].code), ("foo", "not-supported"));
}

#[test]
fn an_empty_value_is_named_as_what_narrowed_nothing() {
    assert_eq!(studies("patient=&_count=").unwrap().ignored, ["patient", "_count"]);
}

#[test]
fn a_reference_without_content_never_widens_a_search() {
    // Empty: told of. Commas alone: refused. Of another type: no match.
    assert_eq!(studies("patient=&modality=CT").unwrap().ignored, ["patient"]);
    assert_eq!(studies("patient=,").unwrap_err()[0].parameter, "patient");
    assert_eq!(
        studies("patient=Practitioner/1").unwrap().criteria,
        [StudyCriterion::Patient(vec![PatientReference::Foreign])]
    );
    let strict = Context { handling: Handling::Strict, ..CONTEXT };
    assert!(Search::parse(IMAGING_STUDY_PARAMETERS, &pairs("patient="), &strict).is_err());
}

#[test]
fn an_identifier_may_be_any_of_a_system_or_have_none() {
    let token = |query: &str| match studies(query).unwrap().criteria.pop().unwrap() {
        StudyCriterion::Identifier(mut tokens) => tokens.pop().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(token("identifier=sys|"), Token { system: System::Uri("sys".to_owned()), code: None });
    assert_eq!(token("identifier=|A1"), Token { system: System::None, code: Some("A1".to_owned()) });
    assert_eq!(token(r"identifier=A\|1"), Token { system: System::Any, code: Some("A|1".to_owned()) });
}

#[test]
fn what_claims_to_be_a_study_uid_is_one() {
    for good in
        ["urn:oid:1.2.840", "urn:dicom:uid|urn:oid:1.2.840", "urn:dicom:uid|", "sys|urn:oid:x", "1.2.x"]
    {
        assert!(studies(&format!("identifier={good}")).is_ok(), "{good}");
    }
    let long = format!("urn:oid:{}", "1.".repeat(32) + "1");
    for bad in [
        "urn:oid:",
        "urn:oid:1..2",
        "urn:oid:1.2.x",
        "urn:dicom:uid|1.2.840",
        "urn:dicom:uid|urn:oid:a",
        &long,
    ] {
        assert!(studies(&format!("identifier={bad}")).is_err(), "{bad}");
    }
}

#[test]
fn names_of_parameters_are_case_sensitive() {
    assert_eq!(studies("Patient=a&MODALITY=CT&_ID=1").unwrap().ignored, ["Patient", "MODALITY", "_ID"]);
}

#[test]
fn a_name_that_could_be_anything_is_not_repeated() {
    assert_eq!(studies("Doe^Jane=1").unwrap().ignored, ["unknown parameter"]);
}

#[test]
fn what_is_said_twice_is_said_once() {
    let search = studies("patient=a&_count=5&patient=a&_count=5").unwrap();
    assert_eq!((search.criteria.len(), search.applied.len()), (1, 2));
    assert_eq!(studies("_count=5&_count=6").unwrap_err()[0].code, "invalid");
}

#[test]
fn patients_and_endpoints_have_tables_of_their_own() {
    let query = "_id=a&identifier=s|1&name=doe&family=d&given=j&birthdate=ge1970&gender=female&_count=3";
    let search = Search::parse(PATIENT_PARAMETERS, &pairs(query), &CONTEXT).unwrap();
    assert_eq!((search.criteria.len(), search.result.count), (7, 3));
    assert!(Search::parse(PATIENT_PARAMETERS, &pairs("_include=Patient:link"), &CONTEXT).is_err());
    let query = "_id=pacs&name=main&status=active&connection-type=dicom-wado-rs";
    assert_eq!(Search::parse(ENDPOINT_PARAMETERS, &pairs(query), &CONTEXT).unwrap().criteria.len(), 4);
    assert_eq!(
        Search::parse(ENDPOINT_PARAMETERS, &pairs("modality=CT"), &CONTEXT).unwrap().ignored,
        ["modality"]
    );
}

#[test]
fn modifiers_that_are_not_supported_are_refused_even_when_lenient() {
    for query in [
        "patient:missing=true",
        "modality:not=CT",
        "patient.name=x",
        "started:exact=2024",
        "_count:x=1",
        "_id:foo=1",
    ] {
        let errors = studies(query).unwrap_err();
        assert_eq!(errors[0].code, "not-supported", "{query}");
    }
}

#[test]
fn broken_values_are_told_by_parameter_all_at_once_and_never_repeated() {
    let query = "started=2024-13-45&_count=abc&identifier=urn:oid:1.2.x&_id=x y&_summary=maybe&patient=a/b/c&modality=a|b|c";
    let errors = studies(query).unwrap_err();
    let names: Vec<_> = errors.iter().map(|error| error.parameter.as_str()).collect();
    assert_eq!(names, ["started", "_count", "identifier", "_id", "_summary", "patient", "modality"]);
    for value in ["2024-13-45", "abc", "1.2.x", "x y", "maybe", "a/b/c", "a|b|c"] {
        assert!(!errors.iter().any(|error| error.to_string().contains(value)), "{value}");
    }
    for query in
        ["_count=-1", "_count=+1", "_count=1.5", "_count=", "_total=all", "_elements=a b", "_pretty=maybe"]
    {
        let refused = studies(query).is_err();
        assert_eq!(refused, query != "_count=", "{query}");
    }
}

#[test]
fn what_is_too_long_or_holds_control_characters_is_refused() {
    assert_eq!(studies(&format!("identifier={}", "x".repeat(10_000))).unwrap_err()[0].code, "too-long");
    assert_eq!(studies("identifier=a\0b").unwrap_err()[0].code, "value");
    assert_eq!(studies(&"patient=a&".repeat(101)).unwrap_err()[0].code, "too-long");
    assert!(studies(&format!("_id={}", "1,".repeat(201))).is_err());
}

#[test]
fn result_parameters_are_read() {
    let result = studies("_count=10&_summary=true&_include=ImagingStudy:endpoint&_include=ImagingStudy:patient:Patient&_total=accurate")
        .unwrap()
        .result;
    assert_eq!((result.count, result.summary, result.total), (10, Summary::True, Some(Total::Accurate)));
    assert_eq!(result.includes, [StudyInclude::Endpoint, StudyInclude::Patient]);
    assert_eq!(studies("_count=1000").unwrap().result.count, 200);
    assert_eq!(studies("_count=99999999999999999999999").unwrap().result.count, 200);
    assert_eq!(studies("").unwrap().result.count, 50);
    assert!(studies("_count=0").unwrap().result.only_count());
    assert_eq!(studies("_elements=started,id,started").unwrap().result.elements.unwrap(), ["id", "started"]);
    for refused in [
        "_include=*",
        "_include=ImagingStudy:encounter",
        "_include=*:*",
        "_include:iterate=ImagingStudy:patient",
        "_count=1&_count=2",
        "_elements=,",
        "_summary=true&_elements=id",
        "_summary=text&_include=ImagingStudy:patient",
    ] {
        assert!(studies(refused).is_err(), "{refused}");
    }
}

#[test]
fn the_format_is_no_part_of_the_search() {
    assert!(studies("_format=json&_pretty=true").unwrap().applied.is_empty());
}

#[test]
fn names_in_the_tables_are_sorted_and_stand_once() {
    fn check<C>(table: &[Parameter<C>]) {
        assert!(table.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(
            table
                .iter()
                .all(|parameter| parameter.definition.starts_with("http://hl7.org/fhir/SearchParameter/"))
        );
    }
    check(IMAGING_STUDY_PARAMETERS);
    check(PATIENT_PARAMETERS);
    check(ENDPOINT_PARAMETERS);
}

#[test]
fn the_documentation_names_every_form_that_is_parsed() {
    for parameter in IMAGING_STUDY_PARAMETERS.iter().filter(|parameter| parameter.forms.len() > 1) {
        let documentation = parameter.documentation();
        for form in parameter.forms {
            assert!(documentation.contains(&format!("{}{}", parameter.name, form.suffix)), "{documentation}");
        }
    }
}

fn any_name() -> impl Strategy<Value = String> {
    let known = IMAGING_STUDY_PARAMETERS.iter().flat_map(|parameter| {
        parameter.forms.iter().map(|form| format!("{}{}", parameter.name, form.suffix)).collect::<Vec<_>>()
    });
    let others = ["name", "birthdate", "_count", "_summary", "_elements", "_include", "unknown"];
    prop::sample::select(known.chain(others.map(str::to_owned)).collect::<Vec<_>>())
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c,|\\\\$ 12]{0,10}",
        "(ge|lt|ap)?20[0-2][0-9](-0[1-9]){0,2}(T10:00(Z|\\+01:00)?)?",
        "urn:oid:1(\\.[0-9]{1,3}){0,3}",
        "\\PC{0,12}",
        "(Patient/)?[a-z0-9.-]{1,8}",
    ]
}

proptest! {
    #[test]
    fn no_query_makes_the_parser_panic(names in prop::collection::vec("[a-z_.:]{0,12}|identifier|patient|started|_id", 0..6), value in "\\PC{0,40}") {
        let pairs: Vec<_> = names.into_iter().map(|name| (name, value.clone())).collect();
        let _ = Search::parse(IMAGING_STUDY_PARAMETERS, &pairs, &CONTEXT);
        let _ = Search::parse(PATIENT_PARAMETERS, &pairs, &CONTEXT);
        let _ = Search::parse(ENDPOINT_PARAMETERS, &pairs, &CONTEXT);
    }

    #[test]
    fn whatever_is_accepted_is_accepted_again_as_the_same(
        given in prop::collection::vec((any_name(), any_value()), 1..5),
    ) {
        if let Ok(first) = Search::parse(IMAGING_STUDY_PARAMETERS, &given, &CONTEXT) {
            let again = Search::parse(IMAGING_STUDY_PARAMETERS, &first.applied, &CONTEXT).unwrap();
            prop_assert_eq!(&again.criteria, &first.criteria);
            prop_assert_eq!(&again.applied, &first.applied);
            prop_assert!(again.ignored.is_empty());
        }
        if let Ok(first) = Search::parse(PATIENT_PARAMETERS, &given, &CONTEXT) {
            let again = Search::parse(PATIENT_PARAMETERS, &first.applied, &CONTEXT).unwrap();
            prop_assert_eq!(&again.criteria, &first.criteria);
        }
    }

    #[test]
    fn no_criterion_is_without_alternatives(name in any_name(), value in any_value()) {
        let given = [(name, value)];
        if let Ok(search) = Search::parse(IMAGING_STUDY_PARAMETERS, &given, &CONTEXT) {
            for criterion in search.criteria {
                match criterion {
                    StudyCriterion::Id(ids) => prop_assert!(!ids.is_empty()),
                    StudyCriterion::Patient(references) => prop_assert!(!references.is_empty()),
                    StudyCriterion::Started(dates) => prop_assert!(!dates.is_empty()),
                    StudyCriterion::Identifier(tokens)
                    | StudyCriterion::PatientIdentifier(tokens)
                    | StudyCriterion::Modality(tokens)
                    | StudyCriterion::Status(tokens) => prop_assert!(!tokens.is_empty()),
                    // Endpoints of other servers are left out.
                    StudyCriterion::Endpoint(_) => {}
                }
            }
        }
    }

    #[test]
    fn what_was_applied_parses_to_the_same_search(id in "[a-z0-9.]{1,8}", code in "[A-Za-z0-9*?]{1,8}", year in 1990..2030) {
        let first = studies(&format!("_id={id}&identifier={code}&started=ge{year}&unknown=1&_count=7")).unwrap();
        let again = Search::parse(IMAGING_STUDY_PARAMETERS, &first.applied, &CONTEXT).unwrap();
        prop_assert_eq!(&again.criteria, &first.criteria);
        prop_assert_eq!(&again.applied, &first.applied);
        prop_assert_eq!(&again.result.count, &first.result.count);
    }
}
