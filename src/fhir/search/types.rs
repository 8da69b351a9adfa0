//! Searches of several types in one request (R4 http#search: `[base]?_type=…`), on the whole server or in a Patient's
//! compartment.

use jiff::Timestamp;

use super::page::{InterpretedParameters, Pages};
use super::search_match::{SearchMatch, SortOrder};
use super::{
    compartment, find_endpoints, find_patients, warn_about_omitted_studies,
    warn_about_unsupported_patient_criteria, write_page,
};
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::studies::FoundPatient;
use fhir_r4::search::{
    Contained, Criterion, Direction, EvaluationContext, ResourceType, Search, Searchable, SortKey,
    has_parameter, parameter_expression, printable_name,
};
use fhir_r4::types::{Endpoint, ImagingStudy, Patient};

const NOT_COMMON_WARNING: &str = "It is not a parameter of every type in this search.";

/// Searches the types in `_type`, or all types, in the compartment of `patient` if there is one. The default order is by type and
/// id.
pub(in crate::fhir) async fn search_types(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    patient: Option<&str>,
) -> Result<EncodedResource, Failure> {
    let compartment_patient = match patient {
        Some(id) => Some(compartment::find_patient(context, request, access, id).await?),
        None => None,
    };
    let search = TypeSearches::parse(context, request, patient.is_some())?;
    let path = compartment::search_path(patient, if patient.is_some() { "*" } else { "" });
    let mut pages = Pages::new(&context.link_key, request, &path, search.parameters()?);
    let matches =
        search.find_matches(context, request, access, compartment_patient.as_ref(), &mut pages).await?;
    let result = search.parameters()?.result;
    let order = search.order();
    let position = |search_match: &SearchMatch| {
        search_match.sort_position(context, &order).with_id(search_match.reference())
    };
    let matches = matches.into_iter().map(|search_match| (position(&search_match), search_match)).collect();
    write_page(context, request, access, pages, result, matches, &order).await
}

/// The searches of the requested types.
struct TypeSearches {
    endpoints: Option<Search<Endpoint>>,
    studies: Option<Search<ImagingStudy>>,
    patients: Option<Search<Patient>>,
    /// The names and values of the parameters that apply to all types.
    applied: Vec<(String, String)>,
    /// The names of the parameters that were ignored, with the reason.
    ignored: Vec<(String, String)>,
}

impl TypeSearches {
    /// Parses the parameters that all requested types have. Other parameters are ignored, or rejected if the client requests strict
    /// handling.
    fn parse(
        context: &FhirContext,
        request: &FhirRequest<'_>,
        is_compartment_search: bool,
    ) -> Result<Self, Failure> {
        let types = SearchedTypes::from_request(request, is_compartment_search)?;
        let is_common = |name: &str| types.supported.iter().all(|kind| has_parameter(*kind, name));
        let common_request = request.with_parameters(|name| name != "_type" && is_common(name));
        let mut ignored = types.unsupported;
        for (name, _) in request.pairs.iter().filter(|(name, _)| name != "_type" && !is_common(name)) {
            if request.is_strict() {
                let diagnostics = format!("Parameter {}: {NOT_COMMON_WARNING}", printable_name(name));
                let mut failure = Failure::bad_request("not-supported", diagnostics);
                if let Some(expression) = parameter_expression(name) {
                    failure = failure.with_expression(expression);
                }
                return Err(failure);
            }
            ignored.push((printable_name(name), NOT_COMMON_WARNING.to_owned()));
        }
        let is_requested = |kind| types.supported.contains(&kind);
        let mut endpoints: Option<Search<Endpoint>> =
            is_requested(ResourceType::Endpoint).then(|| common_request.parse_search(context)).transpose()?;
        let mut studies: Option<Search<ImagingStudy>> = is_requested(ResourceType::ImagingStudy)
            .then(|| common_request.parse_search(context))
            .transpose()?;
        let mut patients: Option<Search<Patient>> =
            is_requested(ResourceType::Patient).then(|| common_request.parse_search(context)).transpose()?;
        let sort = retain_common_keys(&mut endpoints, &mut studies, &mut patients);
        let parameters = [
            endpoints.as_ref().map(InterpretedParameters::from),
            studies.as_ref().map(InterpretedParameters::from),
            patients.as_ref().map(InterpretedParameters::from),
        ];
        let parameters: Vec<_> = parameters.into_iter().flatten().collect();
        ignored.extend(parameters.iter().flat_map(|parameters| parameters.ignored.iter().cloned()));
        ignored.sort();
        ignored.dedup();
        let mut applied = types.applied;
        let is_applied_to_all =
            |pair: &&(String, String)| parameters.iter().all(|parameters| parameters.applied.contains(pair));
        let applied_to_one = parameters.first().into_iter().flat_map(|parameters| parameters.applied);
        applied.extend(applied_to_one.filter(is_applied_to_all).cloned());
        if let Some(sort) = sort {
            applied.retain(|(name, _)| name != "_sort");
            applied.push(("_sort".to_owned(), sort));
        }
        Ok(Self { endpoints, studies, patients, applied, ignored })
    }

    /// Returns the requested order with the keys that all types have.
    fn order(&self) -> SortOrder<'_> {
        SortOrder {
            endpoints: self.endpoints.as_ref().map_or(&[], |search| &search.sort),
            studies: self.studies.as_ref().map_or(&[], |search| &search.sort),
            patients: self.patients.as_ref().map_or(&[], |search| &search.sort),
        }
    }

    /// Returns the parameters that apply to all types.
    fn parameters(&self) -> Result<InterpretedParameters<'_>, Failure> {
        let parameters = [
            self.endpoints.as_ref().map(InterpretedParameters::from),
            self.studies.as_ref().map(InterpretedParameters::from),
            self.patients.as_ref().map(InterpretedParameters::from),
        ];
        // At least one type is searched.
        let parameters = parameters.into_iter().flatten().next().ok_or_else(Failure::internal)?;
        Ok(InterpretedParameters { applied: &self.applied, ignored: &self.ignored, ..parameters })
    }

    /// Returns the matches of all types. `compartment_patient` is the Patient whose compartment is searched.
    async fn find_matches(
        &self,
        context: &FhirContext,
        request: &FhirRequest<'_>,
        access: &Access,
        compartment_patient: Option<&FoundPatient>,
        pages: &mut Pages<'_>,
    ) -> Result<Vec<SearchMatch>, Failure> {
        let mut matches = Vec::new();
        if self.parameters()?.result.contained == Contained::True {
            return Ok(matches);
        }
        if let Some(search) = &self.endpoints {
            let (criteria, reverse_chains) = (&search.criteria, &search.reverse_chains);
            matches.extend(find_endpoints(context, request, access, criteria, reverse_chains).await?);
        }
        if let Some(search) = &self.studies {
            let mut criteria = search.criteria.clone();
            criteria.extend(
                compartment_patient
                    .map(|compartment_patient| Criterion::of_patient(&compartment_patient.resource.id)),
            );
            let sort = &search.sort;
            let found_studies =
                context.studies.search_to_sort(&criteria, sort, access, request.freshness()).await?;
            warn_about_omitted_studies(pages, &found_studies);
            matches.extend(found_studies.studies.into_iter().map(SearchMatch::Study));
        }
        if let Some(search) = &self.patients {
            warn_about_unsupported_patient_criteria(pages, &search.criteria);
        }
        match (&self.patients, compartment_patient) {
            (Some(search), Some(compartment_patient)) => {
                matches.extend(
                    is_match(compartment_patient, &search.criteria)
                        .then(|| SearchMatch::Patient(Box::new(compartment_patient.clone()))),
                );
            }
            (Some(search), None) => {
                let (criteria, reverse_chains) = (&search.criteria, &search.reverse_chains);
                matches.extend(find_patients(context, request, access, criteria, reverse_chains).await?);
            }
            (None, _) => {}
        }
        Ok(matches)
    }
}

/// Removes the sort keys that not all types have. Returns the remaining keys as the value of `_sort`, or `None` if all types have
/// the same keys or no key remains.
fn retain_common_keys(
    endpoints: &mut Option<Search<Endpoint>>,
    studies: &mut Option<Search<ImagingStudy>>,
    patients: &mut Option<Search<Patient>>,
) -> Option<String> {
    let orders = [
        endpoints.as_ref().map(|search| identify_keys(&search.sort)),
        studies.as_ref().map(|search| identify_keys(&search.sort)),
        patients.as_ref().map(|search| identify_keys(&search.sort)),
    ];
    let orders: Vec<_> = orders.into_iter().flatten().collect();
    if orders.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let is_common = |key: (&'static str, Direction)| orders.iter().all(|order| order.contains(&key));
    let mut sort = String::new();
    if let Some(search) = endpoints {
        search.sort.retain(|key| is_common(identify_key(key)));
        sort = SortKey::join(&search.sort);
    }
    if let Some(search) = studies {
        search.sort.retain(|key| is_common(identify_key(key)));
        sort = SortKey::join(&search.sort);
    }
    if let Some(search) = patients {
        search.sort.retain(|key| is_common(identify_key(key)));
        sort = SortKey::join(&search.sort);
    }
    Some(sort).filter(|sort| !sort.is_empty())
}

/// Returns the name of a key's parameter and its direction, which identify the key in all types.
fn identify_key<R: Searchable>(key: &SortKey<R>) -> (&'static str, Direction) {
    (key.parameter().name, key.direction())
}

/// Returns the identities of the keys of an order.
fn identify_keys<R: Searchable>(sort: &[SortKey<R>]) -> Vec<(&'static str, Direction)> {
    sort.iter().map(identify_key).collect()
}

/// Whether the Patient whose compartment is searched matches all criteria.
fn is_match(patient: &FoundPatient, criteria: &[Criterion<Patient>]) -> bool {
    let evaluation_context =
        EvaluationContext { zone: &patient.zone, now: Timestamp::UNIX_EPOCH, patient: None, endpoints: &[] };
    criteria.iter().all(|criterion| criterion.matches(&patient.resource, &evaluation_context))
}

/// The types that `_type` requests, or all types.
struct SearchedTypes {
    supported: Vec<ResourceType>,
    /// Types that this server does not support, with the warning about each.
    unsupported: Vec<(String, String)>,
    /// The values of `_type`, with its name.
    applied: Vec<(String, String)>,
}

impl SearchedTypes {
    /// Parses `_type`. A search in a compartment can have only the types that belong to the compartment of a Patient.
    fn from_request(request: &FhirRequest<'_>, is_compartment_search: bool) -> Result<Self, Failure> {
        let available = if is_compartment_search {
            vec![ResourceType::ImagingStudy, ResourceType::Patient]
        } else {
            ResourceType::ALL.to_vec()
        };
        let applied = request.pairs.iter().filter(|(name, value)| name == "_type" && !value.is_empty());
        let applied: Vec<_> = applied.cloned().collect();
        if applied.is_empty() {
            return Ok(Self { supported: available, unsupported: Vec::new(), applied });
        }
        let mut types = Self { supported: Vec::new(), unsupported: Vec::new(), applied };
        for name in types.applied.iter().flat_map(|(_, value)| value.split(',')).map(str::trim) {
            match NamedType::parse(name, &available)? {
                NamedType::Supported(kind) if types.supported.contains(&kind) => {}
                NamedType::Supported(kind) => types.supported.push(kind),
                NamedType::Unsupported(warning) => types.unsupported.push(warning),
            }
        }
        if types.supported.is_empty() {
            let names: Vec<_> = available.iter().map(|kind| kind.name()).collect();
            let names = names.join(", ");
            return Err(invalid_parameter(&format!(
                "none of the types is supported; supported types: {names}"
            )));
        }
        types.supported.sort_unstable();
        Ok(types)
    }
}

/// A type named in a request.
pub(super) enum NamedType {
    Supported(ResourceType),
    /// A type that this server does not support: the name of the parameter and the warning.
    Unsupported((String, String)),
}

impl NamedType {
    /// Parses the name of a type. A type that is not in `available` is unsupported. Text that cannot be a type name is rejected.
    pub(super) fn parse(name: &str, available: &[ResourceType]) -> Result<Self, Failure> {
        let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        match ResourceType::parse(name).filter(|kind| available.contains(kind)) {
            Some(kind) => Ok(Self::Supported(kind)),
            None if is_name => {
                let available: Vec<_> = available.iter().map(|kind| kind.name()).collect();
                // The name is not part of the warning, because it may be PHI.
                let reason = format!(
                    "a type in the value is not supported, so it was not searched; supported types: {}.",
                    available.join(", ")
                );
                Ok(Self::Unsupported(("_type".to_owned(), reason)))
            }
            None => Err(invalid_parameter("expected comma-separated names of resource types")),
        }
    }
}

/// Returns the failure of a request with an invalid `_type`.
fn invalid_parameter(diagnostics: &str) -> Failure {
    Failure::bad_request("value", format!("Parameter _type: {diagnostics}.")).with_expression("http._type")
}
