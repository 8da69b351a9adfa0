//! Retrievals of single objects by the URI service (PS3.18 chapter 9), built from typed parts.

use super::retrieve::DicomResource;
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid, Uid};
use dicom_render::{MAX_VIEWPORT_SIDE, Viewport};

/// The media type of the object itself.
const DICOM: &str = "application/dicom";

/// One object as retrieved by the URI service: the object itself, or a rendered form of it. Each value is checked against the
/// grammar of the standard, and none needs an escape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WadoUri {
    study: StudyUid,
    series: SeriesUid,
    instance: SopInstanceUid,
    parameters: Vec<(&'static str, String)>,
}

/// The kind of response that a parameter applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParameterScope {
    /// Both kinds.
    Any,
    /// The object itself (PS3.18 9.4.1.2.2).
    Dicom,
    /// A rendered form of the object (PS3.18 9.4.1.2.3).
    Rendered,
}

/// A parameter's name, its scope, and a predicate for its values.
type Parameter = (&'static str, ParameterScope, fn(&str) -> bool);

/// The parameters other than the UIDs.
const PARAMETERS: [Parameter; 14] = [
    ("contentType", ParameterScope::Any, is_list_of_media_types),
    ("charset", ParameterScope::Any, is_list_of_names),
    ("anonymize", ParameterScope::Dicom, |value| value == "yes"),
    ("transferSyntax", ParameterScope::Dicom, Uid::is_legal),
    ("annotation", ParameterScope::Rendered, |value| {
        value.split(',').all(|item| matches!(item, "patient" | "technique"))
    }),
    ("rows", ParameterScope::Rendered, is_side),
    ("columns", ParameterScope::Rendered, is_side),
    ("region", ParameterScope::Rendered, is_region),
    ("windowCenter", ParameterScope::Rendered, is_number),
    ("windowWidth", ParameterScope::Rendered, is_number),
    ("frameNumber", ParameterScope::Rendered, is_count),
    ("imageQuality", ParameterScope::Rendered, |value| {
        value.parse().is_ok_and(|quality: u8| (1..=100).contains(&quality))
    }),
    ("presentationUID", ParameterScope::Rendered, Uid::is_legal),
    ("presentationSeriesUID", ParameterScope::Rendered, Uid::is_legal),
];

/// Maximum length of a value in bytes. Lists of media types and character sets are shorter.
const MAX_VALUE_LEN: usize = 256;

/// Parameters that require each other.
const PAIRS: [(&str, &str); 2] =
    [("windowCenter", "windowWidth"), ("presentationUID", "presentationSeriesUID")];

/// The reason why a request is not a valid retrieval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WadoUriError {
    /// The service has no such parameter.
    #[error("the URI service has no such parameter")]
    UnknownParameter,
    /// The parameter was given before.
    #[error("it is given more than once")]
    Repeated,
    /// The value is not valid for the parameter.
    #[error("the value is not valid according to PS3.18 9.4.1.2")]
    InvalidValue,
    /// The parameter does not apply to the requested `contentType`.
    #[error("it does not apply to the requested contentType")]
    ContentTypeMismatch,
    /// The parameter requires another one.
    #[error("it requires {0}")]
    RequiresParameter(&'static str),
    /// The rendered image would exceed the bounds of `dicom_render`.
    #[error("the image would be too large")]
    TooLarge,
}

impl WadoUri {
    /// Creates the retrieval of an object without parameters: the archive chooses whether it returns the object itself or a rendered form.
    pub fn new(study: StudyUid, series: SeriesUid, instance: SopInstanceUid) -> Self {
        Self { study, series, instance, parameters: Vec::new() }
    }

    /// Adds one parameter of the standard. The value is not escaped.
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, WadoUriError> {
        let (name, _, is_legal) = PARAMETERS
            .into_iter()
            .find(|(known, ..)| *known == name)
            .ok_or(WadoUriError::UnknownParameter)?;
        if self.parameter(name).is_some() {
            return Err(WadoUriError::Repeated);
        }
        if value.len() > MAX_VALUE_LEN || !is_legal(value) {
            let is_too_large = is_count(value) && matches!(name, "rows" | "columns");
            return Err(if is_too_large { WadoUriError::TooLarge } else { WadoUriError::InvalidValue });
        }
        self.parameters.push((name, value.to_owned()));
        Ok(self)
    }

    /// Checks that the parameters are compatible. The error contains the name of an incompatible parameter.
    pub fn checked(self) -> Result<Self, (&'static str, WadoUriError)> {
        let excluded_scope =
            if self.is_rendered() { ParameterScope::Dicom } else { ParameterScope::Rendered };
        for (name, scope, _) in PARAMETERS {
            if scope == excluded_scope && self.parameter(name).is_some() {
                return Err((name, WadoUriError::ContentTypeMismatch));
            }
        }
        for (first, second) in PAIRS {
            match (self.parameter(first), self.parameter(second)) {
                (Some(_), None) => return Err((first, WadoUriError::RequiresParameter(second))),
                (None, Some(_)) => return Err((second, WadoUriError::RequiresParameter(first))),
                _ => {}
            }
        }
        let side = |name| self.parameter(name).and_then(|side| side.parse().ok()).unwrap_or(1);
        if !Viewport::is_bounded(side("columns"), side("rows")) {
            return Err(("rows", WadoUriError::TooLarge));
        }
        Ok(self)
    }

    /// Returns the object as a WADO-RS resource.
    pub fn instance_resource(&self) -> DicomResource {
        DicomResource::Instance(self.study.clone(), self.series.clone(), self.instance.clone())
    }

    /// Returns the SOP Instance UID of the object.
    pub fn instance(&self) -> &SopInstanceUid {
        &self.instance
    }

    /// Whether a rendered form is requested, or the choice is left to the archive.
    pub fn is_rendered(&self) -> bool {
        self.parameter("contentType") != Some(DICOM)
    }

    /// Whether `contentType` names the media type `essence`.
    pub fn requests_media_type(&self, essence: &str) -> bool {
        self.parameter("contentType")
            .is_some_and(|types| types.split(',').any(|requested| requested == essence))
    }

    /// Whether an anonymized object is requested.
    pub fn requests_anonymized(&self) -> bool {
        self.parameter("anonymize").is_some()
    }

    /// Returns the query string. It needs no escapes, which some archives do not decode.
    pub(crate) fn query_string(&self) -> String {
        let Self { study, series, instance, parameters } = self;
        let mut query = format!("requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}");
        for (name, value) in parameters {
            query.push('&');
            query.push_str(name);
            query.push('=');
            query.push_str(value);
        }
        query
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }
}

/// Whether `text` is the name of a character set, or the type or subtype of a media type.
fn is_name(text: &str) -> bool {
    let is_legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'*' | b':');
    !text.is_empty() && text.bytes().all(is_legal)
}

fn is_list_of_names(value: &str) -> bool {
    value.split(',').all(is_name)
}

fn is_list_of_media_types(value: &str) -> bool {
    let is_media_type =
        |text: &str| text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype));
    value.split(',').all(is_media_type)
}

fn is_count(value: &str) -> bool {
    value.len() <= 9
        && value.bytes().all(|byte| byte.is_ascii_digit())
        && value.parse().is_ok_and(|count: u32| count > 0)
}

/// Whether `value` is a height or width of an image that may be requested, in pixels.
fn is_side(value: &str) -> bool {
    is_count(value) && value.parse().is_ok_and(|side: u32| side <= MAX_VIEWPORT_SIDE)
}

/// Whether `value` is a decimal string (PS3.5 6.2) without a plus sign, which would need an escape.
fn is_number(value: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'e' | b'E');
    value.len() <= 16 && value.bytes().all(is_legal) && value.parse().is_ok_and(f64::is_finite)
}

/// Whether `value` is the left, top, right and bottom of a region, as fractions of the width and height of the image.
fn is_region(value: &str) -> bool {
    let parts: Vec<f64> =
        value.split(',').filter(|part| is_number(part)).filter_map(|part| part.parse().ok()).collect();
    let is_within_image = parts.iter().all(|part| (0.0..=1.0).contains(part));
    is_within_image
        && value.split(',').count() == 4
        && matches!(parts.as_slice(), [left, top, right, bottom] if left < right && top < bottom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object() -> WadoUri {
        WadoUri::new(
            StudyUid::parse("1.2").unwrap(),
            SeriesUid::parse("1.2.3").unwrap(),
            SopInstanceUid::parse("1.2.3.4").unwrap(),
        )
    }

    fn query_of(parameters: &[(&str, &str)]) -> Result<String, WadoUriError> {
        let object =
            parameters.iter().try_fold(object(), |object, (name, value)| object.with(name, value))?;
        object.checked().map(|object| object.query_string()).map_err(|(_, error)| error)
    }

    #[test]
    fn a_query_has_the_form_of_the_standard() {
        let uids = "requestType=WADO&studyUID=1.2&seriesUID=1.2.3&objectUID=1.2.3.4";
        assert_eq!(query_of(&[]).unwrap(), uids);
        assert_eq!(
            query_of(&[
                ("contentType", "application/dicom"),
                ("anonymize", "yes"),
                ("transferSyntax", "1.2.840.10008.1.2")
            ])
            .unwrap(),
            format!("{uids}&contentType=application/dicom&anonymize=yes&transferSyntax=1.2.840.10008.1.2")
        );
        assert_eq!(
            query_of(&[
                ("contentType", "image/png,image/jpeg"),
                ("frameNumber", "3"),
                ("rows", "512"),
                ("columns", "512"),
                ("region", "0,0.1,0.5,1.0"),
                ("windowCenter", "-40.5"),
                ("windowWidth", "400"),
                ("imageQuality", "90"),
                ("annotation", "patient,technique"),
                ("charset", "utf-8,ISO-8859-1"),
            ])
            .unwrap(),
            format!(
                "{uids}&contentType=image/png,image/jpeg&frameNumber=3&rows=512&columns=512&region=0,0.1,0.5,1.0&\
                 windowCenter=-40.5&windowWidth=400&imageQuality=90&annotation=patient,technique&charset=utf-8,ISO-8859-1"
            )
        );
    }

    #[test]
    fn a_value_outside_the_standard_is_rejected() {
        for (name, value) in [
            ("contentType", ""),
            ("contentType", "image"),
            ("contentType", "image/png&x=1"),
            ("contentType", "image/png;q=1"),
            ("charset", "utf 8"),
            ("anonymize", "no"),
            ("anonymize", "Yes"),
            ("transferSyntax", "1..2"),
            ("annotation", "everything"),
            ("rows", "0"),
            ("rows", "+1"),
            ("rows", "1.5"),
            ("columns", "99999999999"),
            ("region", "0,0,1"),
            ("region", "0,0,1,1,1"),
            ("region", "0.5,0,0.5,1"),
            ("region", "0,0,1,1.1"),
            ("region", "0,0,x,1"),
            ("windowCenter", "NaN"),
            ("windowWidth", "1e+2"),
            ("frameNumber", "a"),
            ("imageQuality", "0"),
            ("imageQuality", "101"),
            ("presentationUID", "x"),
        ] {
            assert_eq!(query_of(&[(name, value)]), Err(WadoUriError::InvalidValue), "{name}={value}");
        }
        for too_large in
            [&[("rows", "8193")][..], &[("columns", "100000")], &[("rows", "8192"), ("columns", "8192")]]
        {
            assert_eq!(query_of(too_large), Err(WadoUriError::TooLarge), "{too_large:?}");
        }
        assert!(query_of(&[("rows", "4320"), ("columns", "7680")]).is_ok());
        assert_eq!(query_of(&[("token", "x")]), Err(WadoUriError::UnknownParameter));
        assert_eq!(query_of(&[("rows", "1"), ("rows", "1")]), Err(WadoUriError::Repeated));
    }

    #[test]
    fn incompatible_parameters_are_rejected() {
        let dicom = ("contentType", "application/dicom");
        for unpaired in [
            ("windowCenter", "1"),
            ("windowWidth", "1"),
            ("presentationUID", "1.2"),
            ("presentationSeriesUID", "1.2"),
        ] {
            assert!(matches!(query_of(&[unpaired]), Err(WadoUriError::RequiresParameter(_))), "{unpaired:?}");
        }
        for pair in [
            [dicom, ("rows", "1")],
            [dicom, ("frameNumber", "1")],
            [("contentType", "image/png"), ("anonymize", "yes")],
        ] {
            assert_eq!(query_of(&pair), Err(WadoUriError::ContentTypeMismatch), "{pair:?}");
        }
        assert_eq!(query_of(&[("anonymize", "yes")]), Err(WadoUriError::ContentTypeMismatch));
    }

    proptest! {
        #[test]
        fn no_value_needs_an_escape(index in 0..PARAMETERS.len(), value in "[ -~]{0,12}|[0-9.,/a-z-]{1,20}") {
            if let Ok(object) = object().with(PARAMETERS[index].0, &value) {
                let query = object.query_string();
                prop_assert!(query.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=&./,*_:-".contains(&byte)), "{}", query);
                prop_assert_eq!(query.matches('&').count(), 4);
            }
        }
    }
}
