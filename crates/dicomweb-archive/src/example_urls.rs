//! The example URLs that `demo` prints when it has started. This module does not know the responses of the gateway.

use super::archive::{Index, Instance, Series, Study};
use dicom_model::tags;
use std::fmt;

/// URLs of a gateway, with examples from its archive.
#[derive(Debug)]
pub struct ExampleUrls<'a> {
    /// The URL of the gateway, without a trailing slash.
    pub gateway: &'a str,
    /// The id of the archive in the gateway.
    pub archive: &'a str,
    /// The index of the archive.
    pub index: &'a Index,
}

impl ExampleUrls<'_> {
    /// Returns an instance with an image, with its series and study; any instance if there is no image.
    fn example(&self) -> Option<(&Study, &Series, &Instance)> {
        let series = |study| {
            let study: &Study = study;
            study.series.iter().map(move |series| (study, series))
        };
        let all_series = self.index.studies().iter().flat_map(series);
        let mut instances = all_series.flat_map(|(study, series)| {
            series.instances.iter().map(move |instance| (study, series, instance))
        });
        let is_image =
            |(.., instance): &(&Study, &Series, &Instance)| instance.attributes.get(tags::ROWS).is_some();
        let first_instance = instances.clone().next();
        instances.find(is_image).or(first_instance)
    }
}

impl fmt::Display for ExampleUrls<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fhir = format!("{}/fhir", self.gateway);
        let dicomweb = format!("{}/dicom-web/{}", self.gateway, self.archive);
        let mut write_entry = |title: &str, url: String| writeln!(formatter, "  {title}\n    {url}");
        write_entry("Capabilities (CapabilityStatement)", format!("{fhir}/metadata"))?;
        write_entry(
            "The newest studies; a browser gets a page of them",
            format!("{fhir}/ImagingStudy?_count=10"),
        )?;
        write_entry("The patients", format!("{fhir}/Patient?_count=10"))?;
        write_entry("The archive as an Endpoint", format!("{fhir}/Endpoint/{}", self.archive))?;
        write_entry("The same studies by DICOMweb", format!("{dicomweb}/studies"))?;
        let Some((study, series, instance)) = self.example() else { return Ok(()) };
        let path = format!("studies/{}/series/{}/instances/{}", study.uid, series.uid, instance.uid);
        write_entry("One study with its series and instances", format!("{fhir}/ImagingStudy/{}", study.uid))?;
        write_entry(
            "Studies found by their UID",
            format!("{fhir}/ImagingStudy?identifier=urn:oid:{}", study.uid),
        )?;
        write_entry("The metadata of an instance", format!("{dicomweb}/{path}/metadata"))?;
        // A browser accepts any media type, so it would receive the multipart default (PS3.18 8.7.3.3).
        write_entry(
            "The instance itself, as a DICOM file",
            format!("{dicomweb}/{path}?accept=application/dicom"),
        )?;
        if instance.attributes.get(tags::ROWS).is_none() {
            return Ok(());
        }
        write_entry("The instance as a rendered image", format!("{dicomweb}/{path}/rendered"))?;
        write_entry(
            "Thumbnail of its series",
            format!("{dicomweb}/studies/{}/series/{}/thumbnail", study.uid, series.uid),
        )
    }
}
