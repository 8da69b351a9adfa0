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
    for query in ["_count=-1", "_count=1.5", "_count=", "_total=all", "_elements=a b", "_pretty=maybe"] {
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
    assert_eq!(studies("").unwrap().result.count, 50);
    assert!(studies("_count=0").unwrap().result.only_count());
    assert_eq!(studies("_elements=started,id,started").unwrap().result.elements.unwrap(), ["id", "started"]);
    for refused in [
        "_include=*",
        "_include=ImagingStudy:encounter",
        "_count=1&_count=2",
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

proptest! {
    #[test]
    fn no_query_makes_the_parser_panic(names in prop::collection::vec("[a-z_.:]{0,12}|identifier|patient|started|_id", 0..6), value in "\\PC{0,40}") {
        let pairs: Vec<_> = names.into_iter().map(|name| (name, value.clone())).collect();
        let _ = Search::parse(IMAGING_STUDY_PARAMETERS, &pairs, &CONTEXT);
        let _ = Search::parse(PATIENT_PARAMETERS, &pairs, &CONTEXT);
        let _ = Search::parse(ENDPOINT_PARAMETERS, &pairs, &CONTEXT);
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
