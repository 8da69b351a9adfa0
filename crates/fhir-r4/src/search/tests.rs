//! Tests the parser and the table of search parameters.

use proptest::prelude::*;

use super::*;
use crate::types::{Endpoint, Patient};

const CONTEXT: ParseContext<'static> = ParseContext {
    base: "https://h/fhir",
    handling: Handling::Lenient,
    default_count: 50,
    max_count: 200,
    is_uid: |text| text.len() <= 64 && text.split('.').all(is_number),
    is_other_uid: |text| text.starts_with("hash-"),
};

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn parse<R: Searchable>(query: &str) -> Result<Search<R>, Vec<SearchError>> {
    Search::parse(&pairs(query), &CONTEXT)
}

fn studies(query: &str) -> Result<Search<ImagingStudy>, Vec<SearchError>> {
    parse(query)
}

fn ignored_names(query: &str) -> Vec<String> {
    studies(query).unwrap().ignored.into_iter().map(|(name, _)| name).collect()
}

/// Returns the debug texts of the criteria, for comparison.
fn debug_texts<R: Searchable + fmt::Debug>(search: &Search<R>) -> Vec<String> {
    search.criteria.iter().map(|criterion| format!("{criterion:?}")).collect()
}

const STRICT: ParseContext<'static> = ParseContext { handling: Handling::Strict, ..CONTEXT };

#[test]
fn each_parameter_becomes_a_typed_criterion() {
    let comparison = |query| studies(query).unwrap().criteria.pop().unwrap().comparison;
    let local = |name: Option<&str>| ReferenceMatch::Local {
        resource_type: name.map(str::to_owned),
        id: "a".to_owned(),
    };
    assert!(matches!(comparison("_id=1.2,1.3"), Comparison::Token(ids) if ids.len() == 2));
    assert!(matches!(comparison("identifier=urn:dicom:uid|urn:oid:1.2"), Comparison::Token(_)));
    assert!(matches!(comparison("patient=a"), Comparison::Reference(found) if found == [local(None)]));
    for query in ["patient=Patient/a", "subject:Patient=a", "subject=https://h/fhir/Patient/a"] {
        assert!(
            matches!(comparison(query), Comparison::Reference(found) if found == [local(Some("Patient"))]),
            "{query}"
        );
    }
    assert!(matches!(comparison("patient:identifier=s|a"), Comparison::Identifier(_)));
    for query in ["patient.identifier=s|a", "subject:Patient.identifier=s|a", "subject.name:exact=a"] {
        assert!(matches!(comparison(query), Comparison::Patient(_)), "{query}");
    }
    assert!(matches!(comparison("endpoint.connection-type=dicom-wado-rs"), Comparison::Endpoint(_)));
    assert!(
        matches!(comparison("started=ge2024-01"), Comparison::Date(dates) if dates[0].0 == crate::date::Prefix::GreaterOrEqual)
    );
    assert!(matches!(comparison("started:missing=true"), Comparison::Missing(true)));
    assert!(matches!(comparison("modality:not=CT"), Comparison::NotToken(_)));
    assert!(matches!(comparison("reason:text=pain"), Comparison::TokenText(_)));
    assert!(matches!(comparison("identifier:of-type=s|ACSN|1"), Comparison::OfType(_)));
    assert!(matches!(comparison("_profile:below=http://x"), Comparison::Uri(UriMatch::Below, _)));
}

#[test]
fn every_parameter_of_r4_is_in_its_table() {
    fn names<R: Searchable>() -> Vec<&'static str> {
        Parameter::<R>::all().map(|parameter| parameter.name).collect()
    }
    let common = ["_id", "_lastUpdated", "_profile", "_security", "_source", "_tag"];
    let of_study = "basedon bodysite dicom-class encounter endpoint identifier instance interpreter modality patient performer reason referrer series started status subject";
    assert_eq!(names::<ImagingStudy>(), common.into_iter().chain(of_study.split(' ')).collect::<Vec<_>>());
    let of_patient = "active address address-city address-country address-postalcode address-state address-use birthdate death-date deceased email family gender general-practitioner given identifier language link name organization phone phonetic telecom";
    assert_eq!(names::<Patient>(), common.into_iter().chain(of_patient.split(' ')).collect::<Vec<_>>());
    let of_endpoint = "connection-type identifier name organization payload-type status";
    assert_eq!(names::<Endpoint>(), common.into_iter().chain(of_endpoint.split(' ')).collect::<Vec<_>>());
}

#[test]
fn repeated_parameters_must_all_match() {
    assert_eq!(studies("started=ge2024&started=lt2025").unwrap().criteria.len(), 2);
}

#[test]
fn unknown_parameter_is_ignored_and_reported_or_rejected() {
    assert_eq!(ignored_names("foo=1&patient=a&bar:x=2&foo=3"), ["foo", "bar:x"]);
    assert_eq!(studies("foo=1&patient=a").unwrap().applied, [("patient".to_owned(), "a".to_owned())]);
    let errors = Search::<ImagingStudy>::parse(&pairs("foo=1"), &STRICT).unwrap_err();
    assert_eq!((errors[0].parameter.as_str(), errors[0].code), ("foo", "not-supported"));
}

#[test]
fn unsupported_sort_is_ignored_and_reported_or_rejected() {
    assert_eq!(ignored_names("_sort=modality"), ["_sort"]);
    assert!(Search::<ImagingStudy>::parse(&pairs("_sort=modality"), &STRICT).is_err());
    assert_eq!(ignored_names("_sort=,"), ["_sort"]);
}

#[test]
fn messages_about_unsupported_names_in_a_value_do_not_contain_them() {
    for query in ["_sort=started,MRN-4711881", "_sort=-Meyer", "_elements=started,4711881", "_elements=Meyer"]
    {
        for context in [&CONTEXT, &STRICT] {
            let messages = match Search::<ImagingStudy>::parse(&pairs(query), context) {
                Ok(search) => format!("{:?}", search.ignored),
                Err(errors) => format!("{errors:?}"),
            };
            for value in ["4711881", "Meyer"] {
                assert!(!messages.contains(value), "{query}: {messages}");
            }
        }
    }
}

#[test]
fn supported_sort_keys_are_applied_even_if_others_are_unsupported() {
    let search = studies("_sort=nonsense,-started,modality,_id,started").unwrap();
    assert_eq!(SortKey::join(&search.sort), "-started,_id,started");
    assert_eq!(search.applied, [("_sort".to_owned(), "-started,_id,started".to_owned())]);
    let [(name, reason)] = &search.ignored[..] else { panic!("{:?}", search.ignored) };
    assert_eq!(name, "_sort");
    assert!(reason.starts_with("The results are not sorted by an unknown name, modality."), "{reason}");
    assert!(Search::<ImagingStudy>::parse(&pairs("_sort=nonsense,started"), &STRICT).is_err());
}

#[test]
fn named_query_is_rejected() {
    assert_eq!(studies("_query=x").unwrap_err()[0].code, "not-supported");
}

#[test]
fn empty_value_is_reported_as_ignored() {
    assert_eq!(ignored_names("status=&_count="), ["status", "_count"]);
}

#[test]
fn empty_reference_never_widens_a_search() {
    // A value that is empty or only commas is rejected; a reference to another type is a criterion without matches.
    for query in ["patient=&modality=CT", "patient=,", "patient.identifier=", "patient:missing="] {
        assert_eq!(studies(query).unwrap_err()[0].parameter, "patient", "{query}");
    }
    assert_eq!(studies("subject:Patient.name=").unwrap_err()[0].parameter, "subject");
    assert_eq!(parse::<Patient>("identifier=").unwrap_err()[0].parameter, "identifier");
    assert_eq!(parse::<Patient>("_id=").unwrap_err()[0].parameter, "_id");
    assert_eq!(studies("patient=Practitioner/1").unwrap().criteria.len(), 1);
}

#[test]
fn identifier_can_have_no_value_no_system_or_any_system() {
    let token = |query: &str| match studies(query).unwrap().criteria.pop().unwrap().comparison {
        Comparison::Token(mut tokens) => tokens.pop().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(token("identifier=sys|"), Token { system: System::Uri("sys".to_owned()), code: None });
    assert_eq!(token("identifier=|A1"), Token { system: System::None, code: Some("A1".to_owned()) });
    assert_eq!(token(r"identifier=A\|1"), Token { system: System::Any, code: Some("A|1".to_owned()) });
}

#[test]
fn invalid_study_uid_is_rejected() {
    for valid in
        ["urn:oid:1.2.840", "urn:dicom:uid|urn:oid:1.2.840", "urn:dicom:uid|", "sys|urn:oid:x", "1.2.x"]
    {
        assert!(studies(&format!("identifier={valid}")).is_ok(), "{valid}");
    }
    let long = format!("urn:oid:{}", "1.".repeat(32) + "1");
    for invalid in [
        "urn:oid:",
        "urn:oid:1..2",
        "urn:oid:1.2.x",
        "urn:dicom:uid|1.2.840",
        "urn:dicom:uid|urn:oid:a",
        &long,
    ] {
        assert!(studies(&format!("identifier={invalid}")).is_err(), "{invalid}");
    }
}

#[test]
fn names_of_parameters_are_case_sensitive() {
    assert_eq!(ignored_names("Patient=a&MODALITY=CT&_ID=1"), ["Patient", "MODALITY", "_ID"]);
}

#[test]
fn invalid_parameter_name_is_not_repeated_in_messages() {
    assert_eq!(ignored_names("Doe^Jane=1"), ["(name not shown)"]);
}

#[test]
fn duplicate_parameter_has_no_effect() {
    let search = studies("patient=a&_count=5&patient=a&_count=5").unwrap();
    assert_eq!((search.criteria.len(), search.applied.len()), (1, 2));
    assert_eq!(studies("_count=5&_count=6").unwrap_err()[0].code, "invalid");
}

#[test]
fn patients_and_endpoints_have_their_own_parameters() {
    let query = "_id=a&identifier=s|1&name=doe&family=d&given=j&birthdate=ge1970&gender=female&_count=3";
    let search = parse::<Patient>(query).unwrap();
    assert_eq!((search.criteria.len(), search.result.count), (7, 3));
    let query = "_id=pacs&name=main&status=active&connection-type=dicom-wado-rs";
    assert_eq!(parse::<Endpoint>(query).unwrap().criteria.len(), 4);
    assert_eq!(parse::<Endpoint>("modality=CT").unwrap().ignored[0].0, "modality");
}

#[test]
fn reverse_chain_has_a_criterion_for_the_referring_study() {
    let search = parse::<Patient>("_has:ImagingStudy:patient:modality=CT").unwrap();
    assert_eq!(search.reverse_chains[0].reference, ReferenceElement::Subject);
    assert_eq!(search.reverse_chains[0].criterion.parameter.name, "modality");
    assert_eq!(parse::<Endpoint>("_has:ImagingStudy:endpoint:_id=1.2").unwrap().reverse_chains.len(), 1);
    for invalid in [
        "_has=1",
        "_has:ImagingStudy:patient=1",
        "_has:ImagingStudy:endpoint:modality=CT",
        "_has:Observation:patient:code=1",
        "_has:ImagingStudy:patient:nonsense=1",
        "_has:ImagingStudy:patient:started=never",
    ] {
        let errors = parse::<Patient>(invalid).unwrap_err();
        assert_eq!(errors[0].parameter, "_has", "{invalid}");
    }
    assert!(studies("_has:ImagingStudy:patient:modality=CT").is_err(), "no resource refers to a study");
}

#[test]
fn unsupported_modifiers_are_rejected_even_with_lenient_handling() {
    for query in [
        "modality:exact=CT",
        "patient.nonsense=x",
        "patient:Group=x",
        "started:exact=2024",
        "status:of-type=a|b|c",
        "endpoint.nonsense=1",
        "modality.code=CT",
        "_count:x=1",
        "_id:foo=1",
    ] {
        let errors = studies(query).unwrap_err();
        assert_eq!(errors[0].code, "not-supported", "{query}");
    }
    assert_eq!(studies("patient:missing=perhaps").unwrap_err()[0].code, "value");
}

#[test]
fn invalid_values_are_reported_together_by_parameter_and_never_repeated() {
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
        let rejected = studies(query).is_err();
        assert_eq!(rejected, query != "_count=", "{query}");
    }
}

#[test]
fn too_long_values_and_control_characters_are_rejected() {
    assert_eq!(studies(&format!("identifier={}", "x".repeat(50_000))).unwrap_err()[0].code, "too-long");
    assert!(studies(&format!("identifier={}", "x".repeat(5000))).is_err());
    assert_eq!(studies("identifier=a\0b").unwrap_err()[0].code, "value");
    assert_eq!(studies(&"patient=a&".repeat(101)).unwrap_err()[0].code, "too-long");
    assert!(studies(&format!("_id={}", "1,".repeat(201))).is_err());
}

#[test]
fn result_parameters_are_parsed() {
    let search = studies("_count=10&_summary=true&_include=ImagingStudy:endpoint&_include:iterate=ImagingStudy:patient:Patient&_total=accurate&_sort=-started,_id").unwrap();
    let result = search.result;
    assert_eq!((result.count, result.summary, result.total), (10, Summary::True, Some(Total::Accurate)));
    let references: Vec<_> =
        result.includes.iter().map(|include| (include.references.clone(), include.iterate)).collect();
    assert_eq!(
        references,
        [(vec![ReferenceElement::Endpoint], false), (vec![ReferenceElement::Subject], true)]
    );
    let sort: Vec<_> = search.sort.iter().map(|key| (key.parameter().name, key.direction())).collect();
    assert_eq!(sort, [("started", Direction::Descending), ("_id", Direction::Ascending)]);
    assert_eq!(studies("_count=1000").unwrap().result.count, 200);
    assert_eq!(studies("_count=99999999999999999999999").unwrap().result.count, 200);
    assert_eq!(studies("").unwrap().result.count, 50);
    assert!(studies("_count=0").unwrap().result.is_count_only());
    assert_eq!(studies("_elements=started,id,started").unwrap().result.elements.unwrap(), ["id", "started"]);
    assert_eq!(studies("_contained=both").unwrap().result.contained, Contained::Both);
    for rejected in [
        "_count=1&_count=2",
        "_elements=,",
        "_contained=perhaps",
        "_summary=true&_elements=id",
        "_summary=text&_include=ImagingStudy:patient",
    ] {
        assert!(studies(rejected).is_err(), "{rejected}");
    }
}

#[test]
fn format_is_not_part_of_the_search() {
    assert!(studies("_format=json&_pretty=true").unwrap().applied.is_empty());
}

#[test]
fn names_in_the_tables_are_sorted_and_unique() {
    fn check<R: Searchable>() {
        let names: Vec<_> = Parameter::<R>::all().map(|parameter| parameter.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        let has_r4_definition = |parameter: &Parameter<R>| {
            parameter.definition.starts_with("http://hl7.org/fhir/SearchParameter/")
        };
        assert!(Parameter::<R>::all().all(has_r4_definition));
        let keys: Vec<_> = Parameter::<R>::all().map(|parameter| parameter.key).collect();
        assert!((1..keys.len()).all(|index| !keys[..index].contains(&keys[index])), "{keys:?}");
    }
    check::<ImagingStudy>();
    check::<Patient>();
    check::<Endpoint>();
}

/// Returns a valid value of a parameter.
fn valid_value(parameter: &str, kind: ParameterType) -> &'static str {
    match (parameter, kind) {
        ("series" | "instance", _) => "1.2",
        (_, ParameterType::Date) => "2024",
        (_, ParameterType::Uri) => "http://x/y",
        _ => "a",
    }
}

/// Returns every documented form of every parameter of `R`, with a value.
fn documented_forms<R: Searchable>() -> Vec<(String, &'static str)> {
    let forms_of = |parameter: &'static Parameter<R>| {
        let forms = parameter.supported_forms();
        let forms: Vec<_> = forms.split(", ").map(str::to_owned).collect();
        forms.into_iter().map(move |form| {
            let form =
                form.replace("[a parameter of Patient]", "name").replace("[a parameter of Endpoint]", "name");
            let value = match form.rsplit_once(':').map(|(_, modifier)| modifier) {
                Some("missing") => "true",
                Some("of-type") => "s|c|v",
                _ => valid_value(parameter.name, parameter.kind),
            };
            (form, value)
        })
    };
    Parameter::<R>::all().flat_map(forms_of).collect()
}

#[test]
fn every_documented_form_is_accepted() {
    fn check<R: Searchable>() {
        for (name, value) in documented_forms::<R>() {
            let pairs = [(name.clone(), value.to_owned())];
            let search =
                Search::<R>::parse(&pairs, &STRICT).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            assert_eq!(search.criteria.len(), 1, "{name}");
        }
    }
    check::<ImagingStudy>();
    check::<Patient>();
    check::<Endpoint>();
}

fn any_name() -> impl Strategy<Value = String> {
    let known = documented_forms::<ImagingStudy>().into_iter().map(|(name, _)| name);
    let others = [
        "name",
        "birthdate",
        "_count",
        "_summary",
        "_elements",
        "_include",
        "_sort",
        "_has:ImagingStudy:patient:modality",
        "unknown",
    ];
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

fn alternative_count(comparison: &Comparison) -> usize {
    match comparison {
        Comparison::Date(dates) => dates.len(),
        Comparison::Token(tokens) | Comparison::NotToken(tokens) | Comparison::Identifier(tokens) => {
            tokens.len()
        }
        Comparison::TokenText(strings) | Comparison::String(strings) => strings.len(),
        Comparison::OfType(identifiers) => identifiers.len(),
        Comparison::Uri(_, uris) => uris.len(),
        Comparison::Reference(references) => references.len(),
        Comparison::Missing(_) => 1,
        Comparison::Patient(criterion) => alternative_count(&criterion.comparison),
        Comparison::Endpoint(criterion) => alternative_count(&criterion.comparison),
    }
}

proptest! {
    #[test]
    fn arbitrary_query_never_makes_the_parser_panic(names in prop::collection::vec("[a-z_.:]{0,12}|identifier|patient|started|_id", 0..6), value in "\\PC{0,40}") {
        let pairs: Vec<_> = names.into_iter().map(|name| (name, value.clone())).collect();
        let _ = Search::<ImagingStudy>::parse(&pairs, &CONTEXT);
        let _ = Search::<Patient>::parse(&pairs, &CONTEXT);
        let _ = Search::<Endpoint>::parse(&pairs, &CONTEXT);
    }

    #[test]
    fn applied_parameters_are_parsed_to_the_same_search(
        given in prop::collection::vec((any_name(), any_value()), 1..5),
    ) {
        if let Ok(first) = Search::<ImagingStudy>::parse(&given, &CONTEXT) {
            let repeated = Search::<ImagingStudy>::parse(&first.applied, &CONTEXT).unwrap();
            prop_assert_eq!(debug_texts(&repeated), debug_texts(&first));
            prop_assert_eq!(&repeated.applied, &first.applied);
            prop_assert!(repeated.ignored.is_empty());
        }
        if let Ok(first) = Search::<Patient>::parse(&given, &CONTEXT) {
            let repeated = Search::<Patient>::parse(&first.applied, &CONTEXT).unwrap();
            prop_assert_eq!(debug_texts(&repeated), debug_texts(&first));
            prop_assert_eq!(repeated.reverse_chains.len(), first.reverse_chains.len());
        }
    }

    #[test]
    fn every_criterion_has_alternatives(name in any_name(), value in any_value()) {
        if let Ok(search) = Search::<ImagingStudy>::parse(&[(name, value)], &CONTEXT) {
            for criterion in search.criteria {
                prop_assert!(alternative_count(&criterion.comparison) > 0, "{criterion:?}");
            }
        }
    }
}
