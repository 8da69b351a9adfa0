//! Sample studies for `demo` and for tests: real Part-10 files, written by code, the same bytes at every run.
//!
//! [`patients`] is the declaration that a person can read; below it stand the builders. No clock, no randomness: UIDs
//! are numbered under [`ROOT`], pixels are drawn with exact arithmetic. Everybody in here is invented.

mod codes;
mod declaration;
mod documents;
mod enhanced;
mod images;
mod object;
mod patients;
mod phantom;
mod place;
mod rle;

use declaration::Syntax;
use object::Object;
use place::Place;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

pub use declaration::{Code, Given, Issuer, Kind, Patient, SeriesDeclaration, Specimen, StudyDeclaration};
pub use place::ROOT;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleReport {
    /// Different people.
    pub patients: usize,
    /// Studies of theirs.
    pub studies: usize,
    /// Series of those.
    pub series: usize,
    /// Files.
    pub instances: usize,
}

/// Every sample patient, with the declarations of the studies.
pub fn patients() -> &'static [Patient] {
    patients::PATIENTS
}

/// The Study Instance UID of a declared study, by the positions of its patient and of itself.
pub fn study_uid(patient: usize, study: usize) -> String {
    format!("{ROOT}.{}.{}", patient + 1, study + 1)
}

/// Writes every sample file under `folder`: a folder a patient, a folder a study, a folder a series.
pub fn write(folder: &Path) -> io::Result<SampleReport> {
    write_of(folder, |_| true)
}

/// Writes the files of the patients that `wanted` accepts; they are the same as when all are written.
pub fn write_of(folder: &Path, wanted: impl Fn(&Patient) -> bool) -> io::Result<SampleReport> {
    let mut report = SampleReport::default();
    let (mut patients, mut studies) = (BTreeSet::new(), BTreeSet::new());
    for place in series().filter(|place| wanted(place.patient)) {
        let [patient, study, series, _] = place.positions.map(|position| position + 1);
        let folder = folder.join(format!("patient-{patient:02}/study-{study}/series-{series}"));
        fs::create_dir_all(&folder)?;
        for instance in place.instances() {
            let (object, syntax) = object(&instance);
            let path = folder.join(format!("{:04}.dcm", instance.positions[3] + 1));
            object.write(instance.sop_class(), &instance.instance_uid(), syntax, &path)?;
            report.instances += 1;
        }
        report.series += 1;
        patients.insert(patient);
        studies.insert((patient, study));
    }
    (report.patients, report.studies) = (patients.len(), studies.len());
    Ok(report)
}

/// The first place of every series.
fn series() -> impl Iterator<Item = Place> {
    patients().iter().enumerate().flat_map(|(first, patient)| {
        patient.studies.iter().enumerate().flat_map(move |(second, study)| {
            study.series.iter().enumerate().map(move |(third, series)| Place {
                patient,
                study,
                series,
                positions: [first, second, third, 0],
            })
        })
    })
}

fn object(place: &Place) -> (Object, Syntax) {
    match place.series.kind {
        Kind::Seg => (enhanced::segmentation(place), Syntax::Explicit),
        Kind::Sr => (documents::report(place), Syntax::Explicit),
        Kind::Ko => (documents::key_objects(place), Syntax::Explicit),
        Kind::Pr => (documents::presentation_state(place), Syntax::Explicit),
        _ => images::image(place),
    }
}

#[cfg(test)]
mod tests;
