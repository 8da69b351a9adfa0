//! Searches of several types in one request (R4 http#search: `[base]?_type=…`), on the whole server or in a Patient's
//! compartment.

use jiff::Timestamp;

use super::page::{InterpretedParameters, Pages};
use super::search_match::{SearchMatch, SortOrder};
use super::{
    compartment, matching_endpoints, matching_patients, warn_of_omitted_studies,
    warn_unsupported_patient_criteria, write_page,
};
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::studies::FoundPatient;
use fhir_r4::search::{
    Contained, Criterion, Direction, EvaluationContext, ResourceType, Search, Searched, SortKey,
    has_parameter, shown,
};
use fhir_r4::types::{Endpoint, ImagingStudy, Patient};

const NOT_OF_ALL: &str = "It is not a parameter of every type in this search.";

/// Searches all types that `_type` names, or every type; in the compartment of `patient` if given. The default order is by type
/// and id.
pub(in crate::fhir) async fn all_types(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    patient: Option<&str>,
) -> Result<EncodedResource, Failure> {
    let focus = match patient {
        Some(id) => Some(compartment::focus(context, request, access, id).await?),
        None => None,
    };
    let search = Searches::read(context, request, patient.is_some())?;
    let path = compartment::path(patient, if patient.is_some() { "*" } else { "" });
    let mut pages = Pages::new(&context.cursors, request, &path, search.reading()?);
    let found = search.found(context, request, access, focus.as_ref(), &mut pages).await?;
    let result = search.reading()?.result;
    let order = search.order();
    let position = |found: &SearchMatch| found.sort_position(context, &order).with_id(found.name());
    let found = found.into_iter().map(|found| (position(&found), found)).collect();
    write_page(context, request, access, pages, result, found, &order).await
}

/// The parameters as parsed for each type.
struct Searches {
    endpoints: Option<Search<Endpoint>>,
    studies: Option<Search<ImagingStudy>>,
    patients: Option<Search<Patient>>,
    applied: Vec<(String, String)>,
    ignored: Vec<(String, String)>,
}

impl Searches {
    fn read(context: &FhirContext, request: &FhirRequest<'_>, in_compartment: bool) -> Result<Self, Failure> {
        let types = Types::from_request(request, in_compartment)?;
        let of_all = |name: &str| types.served.iter().all(|kind| has_parameter(*kind, name));
        let common = request.with(|name| name != "_type" && of_all(name));
        let mut ignored = types.unserved;
        for (name, _) in request.pairs.iter().filter(|(name, _)| name != "_type" && !of_all(name)) {
            if request.is_strict() {
                let name = shown(name);
                let failure =
                    Failure::bad_request("not-supported", format!("Parameter {name}: {NOT_OF_ALL}"));
                return Err(failure.with_expression(format!("http.{name}")));
            }
            ignored.push((shown(name), NOT_OF_ALL.to_owned()));
        }
        let is_wanted = |kind| types.served.contains(&kind);
        let limits = &context.limits;
        let mut endpoints: Option<Search<Endpoint>> =
            is_wanted(ResourceType::Endpoint).then(|| common.search(limits)).transpose()?;
        let mut studies: Option<Search<ImagingStudy>> =
            is_wanted(ResourceType::ImagingStudy).then(|| common.search(limits)).transpose()?;
        let mut patients: Option<Search<Patient>> =
            is_wanted(ResourceType::Patient).then(|| common.search(limits)).transpose()?;
        let sort = common_order(&mut endpoints, &mut studies, &mut patients);
        let readings = [
            endpoints.as_ref().map(InterpretedParameters::from),
            studies.as_ref().map(InterpretedParameters::from),
            patients.as_ref().map(InterpretedParameters::from),
        ];
        let readings: Vec<_> = readings.into_iter().flatten().collect();
        ignored.extend(readings.iter().flat_map(|reading| reading.ignored.iter().cloned()));
        ignored.sort();
        ignored.dedup();
        let mut applied = types.applied;
        let by_all = |pair: &&(String, String)| readings.iter().all(|reading| reading.applied.contains(pair));
        applied.extend(
            readings.first().into_iter().flat_map(|first| first.applied.iter().filter(by_all).cloned()),
        );
        if let Some(sort) = sort {
            applied.retain(|(name, _)| name != "_sort");
            applied.push(("_sort".to_owned(), sort));
        }
        Ok(Self { endpoints, studies, patients, applied, ignored })
    }

    /// The requested order, as far as all types have its keys; otherwise by id.
    fn order(&self) -> SortOrder<'_> {
        SortOrder {
            endpoints: self.endpoints.as_ref().map_or(&[], |search| &search.sort),
            studies: self.studies.as_ref().map_or(&[], |search| &search.sort),
            patients: self.patients.as_ref().map_or(&[], |search| &search.sort),
        }
    }

    /// How the parameters were understood, from any of the types.
    fn reading(&self) -> Result<InterpretedParameters<'_>, Failure> {
        let readings = [
            self.endpoints.as_ref().map(InterpretedParameters::from),
            self.studies.as_ref().map(InterpretedParameters::from),
            self.patients.as_ref().map(InterpretedParameters::from),
        ];
        // At least one type is searched.
        let reading = readings.into_iter().flatten().next().ok_or_else(Failure::internal)?;
        Ok(InterpretedParameters { applied: &self.applied, ignored: &self.ignored, ..reading })
    }

    async fn found(
        &self,
        context: &FhirContext,
        request: &FhirRequest<'_>,
        access: &Access,
        focus: Option<&FoundPatient>,
        pages: &mut Pages<'_>,
    ) -> Result<Vec<SearchMatch>, Failure> {
        let mut found = Vec::new();
        if self.reading()?.result.contained == Contained::Only {
            return Ok(found);
        }
        if let Some(search) = &self.endpoints {
            let (criteria, reverse) = (&search.criteria, &search.reverse);
            found.extend(matching_endpoints(context, request, access, criteria, reverse).await?);
        }
        if let Some(search) = &self.studies {
            let mut criteria = search.criteria.clone();
            criteria.extend(focus.map(|focus| Criterion::of_patient(&focus.resource.id)));
            let sort = &search.sort;
            let matching =
                context.studies.search_to_sort(&criteria, sort, access, request.freshness()).await?;
            warn_of_omitted_studies(pages, &matching);
            found.extend(matching.studies.into_iter().map(SearchMatch::Study));
        }
        if let Some(search) = &self.patients {
            warn_unsupported_patient_criteria(pages, &search.criteria);
        }
        match (&self.patients, focus) {
            (Some(search), Some(focus)) => {
                found.extend(
                    matches(focus, &search.criteria).then(|| SearchMatch::Patient(Box::new(focus.clone()))),
                );
            }
            (Some(search), None) => {
                let (criteria, reverse) = (&search.criteria, &search.reverse);
                found.extend(matching_patients(context, request, access, criteria, reverse).await?);
            }
            (None, _) => {}
        }
        Ok(found)
    }
}

/// Removes the keys of the requested order that not all types have. Returns the remaining ones as the value of `_sort`, if any
/// type has others.
fn common_order(
    endpoints: &mut Option<Search<Endpoint>>,
    studies: &mut Option<Search<ImagingStudy>>,
    patients: &mut Option<Search<Patient>>,
) -> Option<String> {
    let orders = [
        endpoints.as_ref().map(|search| names(&search.sort)),
        studies.as_ref().map(|search| names(&search.sort)),
        patients.as_ref().map(|search| names(&search.sort)),
    ];
    let orders: Vec<_> = orders.into_iter().flatten().collect();
    if orders.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let of_all = |key: (&'static str, Direction)| orders.iter().all(|order| order.contains(&key));
    let mut sort = String::new();
    if let Some(search) = endpoints {
        search.sort.retain(|key| of_all(named(key)));
        sort = SortKey::join(&search.sort);
    }
    if let Some(search) = studies {
        search.sort.retain(|key| of_all(named(key)));
        sort = SortKey::join(&search.sort);
    }
    if let Some(search) = patients {
        search.sort.retain(|key| of_all(named(key)));
        sort = SortKey::join(&search.sort);
    }
    Some(sort).filter(|sort| !sort.is_empty())
}

/// A key by the name of its parameter, which types share.
fn named<R: Searched>(key: &SortKey<R>) -> (&'static str, Direction) {
    (key.parameter().name, key.direction())
}

/// The keys of an order.
fn names<R: Searched>(sort: &[SortKey<R>]) -> Vec<(&'static str, Direction)> {
    sort.iter().map(named).collect()
}

/// In its own compartment, a Patient is compared only by the parameters of all resources.
fn matches(patient: &FoundPatient, criteria: &[Criterion<Patient>]) -> bool {
    let around =
        EvaluationContext { zone: &patient.zone, now: Timestamp::UNIX_EPOCH, patient: None, endpoints: &[] };
    criteria.iter().all(|criterion| criterion.matches(&patient.resource, &around))
}

/// The value of `_type`.
struct Types {
    served: Vec<ResourceType>,
    /// Types that this server does not support, with the warning about each.
    unserved: Vec<(String, String)>,
    applied: Vec<(String, String)>,
}

impl Types {
    fn from_request(request: &FhirRequest<'_>, in_compartment: bool) -> Result<Self, Failure> {
        let there = if in_compartment {
            vec![ResourceType::ImagingStudy, ResourceType::Patient]
        } else {
            ResourceType::ALL.to_vec()
        };
        let given = request.pairs.iter().filter(|(name, value)| name == "_type" && !value.is_empty());
        let applied: Vec<_> = given.cloned().collect();
        if applied.is_empty() {
            return Ok(Self { served: there, unserved: Vec::new(), applied });
        }
        let mut types = Self { served: Vec::new(), unserved: Vec::new(), applied };
        for name in types.applied.iter().flat_map(|(_, value)| value.split(',')).map(str::trim) {
            match NamedType::read(name, &there)? {
                NamedType::Supported(kind) if types.served.contains(&kind) => {}
                NamedType::Supported(kind) => types.served.push(kind),
                NamedType::Unsupported(remark) => types.unserved.push(remark),
            }
        }
        if types.served.is_empty() {
            let names: Vec<_> = there.iter().map(|kind| kind.name()).collect();
            let names = names.join(", ");
            return Err(invalid_parameter(&format!(
                "none of the types is supported; supported types: {names}"
            )));
        }
        types.served.sort_unstable();
        Ok(types)
    }
}

/// A type named in a request.
pub(super) enum NamedType {
    Supported(ResourceType),
    /// This server does not support it; the parameter and the warning.
    Unsupported((String, String)),
}

impl NamedType {
    /// Parses a type out of `there`; a name that is not a resource type is rejected.
    pub(super) fn read(name: &str, there: &[ResourceType]) -> Result<Self, Failure> {
        let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        match ResourceType::parse(name).filter(|kind| there.contains(kind)) {
            Some(kind) => Ok(Self::Supported(kind)),
            None if is_name => {
                let why = format!("the type {name} is not supported, so it was not searched.");
                Ok(Self::Unsupported(("_type".to_owned(), why)))
            }
            None => Err(invalid_parameter("expected comma-separated names of resource types")),
        }
    }
}

fn invalid_parameter(diagnostics: &str) -> Failure {
    Failure::bad_request("value", format!("Parameter _type: {diagnostics}.")).with_expression("http._type")
}
