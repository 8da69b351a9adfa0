//! Studies that are distributed over archives at random: the archives of each instance are known, so that the union and the
//! conflicts can be computed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::prelude::*;

use super::gateway::RunningGateway;
use super::pacs::{Pacs, RunningPacs, Study};

/// The modalities of the first, second and third series of a study.
pub const MODALITIES: [&str; 3] = ["CT", "MR", "SR"];

/// The archives that contain an instance.
pub type Archives = BTreeSet<usize>;

/// A study in several archives.
#[derive(Debug, Clone)]
pub struct DistributedStudy {
    /// The Study Instance UID.
    pub uid: String,
    /// For each series and instance: the archives that contain it, at least one.
    pub series: Vec<Vec<Archives>>,
    /// The Patient ID in each archive; empty if the archive has none.
    pub patient_ids: Vec<&'static str>,
    /// The Accession Number in each archive; empty if the archive has none.
    pub accession_numbers: Vec<&'static str>,
}

/// Generates studies in `archive_count` archives. Most of the studies belong to only one patient.
pub fn any_studies(archive_count: usize) -> impl Strategy<Value = Vec<DistributedStudy>> {
    let instance = proptest::collection::btree_set(0..archive_count, 1..=archive_count);
    let series = proptest::collection::vec(proptest::collection::vec(instance, 1..4), 1..4);
    let patient_id = prop_oneof![6 => Just("P1"), 1 => Just(""), 1 => Just("P2")];
    let accession_number = prop_oneof![Just(""), Just("A1"), Just("A2")];
    let study = (
        series,
        proptest::collection::vec(patient_id, archive_count),
        proptest::collection::vec(accession_number, archive_count),
    );
    let with_uid = |(number, (series, patient_ids, accession_numbers))| DistributedStudy {
        uid: format!("1.2.{number}"),
        series,
        patient_ids,
        accession_numbers,
    };
    proptest::collection::vec(study, 1..4)
        .prop_map(move |studies| studies.into_iter().enumerate().map(with_uid).collect())
}

impl DistributedStudy {
    /// Returns the archives that contain a part of the study.
    pub fn archives(&self) -> Archives {
        self.series.iter().flatten().flatten().copied().collect()
    }

    /// Returns the archives that contain a part of the study, for each patient. A part without a Patient ID has the name of P1.
    pub fn archives_by_patient(&self) -> Vec<Archives> {
        let is_second_patient = |archive: &usize| self.patient_ids[*archive] == "P2";
        let (second, first): (Archives, Archives) = self.archives().into_iter().partition(is_second_patient);
        [first, second].into_iter().filter(|archives| !archives.is_empty()).collect()
    }

    /// Whether archives assign the study to different patients.
    pub fn has_patient_conflict(&self) -> bool {
        self.archives_by_patient().len() > 1
    }

    /// Returns the Patient IDs of the study.
    pub fn patient_ids(&self) -> BTreeSet<&'static str> {
        let patient_ids = self.archives().into_iter().map(|archive| self.patient_ids[archive]);
        patient_ids.filter(|patient_id| !patient_id.is_empty()).collect()
    }

    /// Returns the accession numbers of the study in `archives`.
    pub fn accession_numbers_in(&self, archives: &Archives) -> BTreeSet<&'static str> {
        let numbers = self.archives().into_iter().filter(|archive| archives.contains(archive));
        numbers.map(|archive| self.accession_numbers[archive]).filter(|number| !number.is_empty()).collect()
    }

    /// Returns the modalities of the study in `archives`.
    pub fn modalities_in(&self, archives: &Archives) -> BTreeSet<&'static str> {
        let series = MODALITIES.into_iter().zip(&self.series);
        series
            .filter(|(_, instances)| instances.iter().any(|instance| !instance.is_disjoint(archives)))
            .map(|(modality, _)| modality)
            .collect()
    }

    /// Returns the UIDs of the instances of each series.
    pub fn instances(&self) -> BTreeMap<String, BTreeSet<String>> {
        let series = self.series.iter().enumerate().map(|(number, instances)| {
            let uid = format!("{}.{number}", self.uid);
            let instances = (1..=instances.len()).map(|number| format!("{uid}.{number}")).collect();
            (uid, instances)
        });
        series.collect()
    }

    /// Whether all archives have the same number of instances of a series, but not the same instances. Then rows with counts do not
    /// show that the parts differ.
    pub fn has_ambiguous_counts(&self) -> bool {
        self.has_ambiguous_counts_in(&self.archives())
    }

    /// Does the same as [`has_ambiguous_counts`](Self::has_ambiguous_counts) for the parts in `archives`.
    pub fn has_ambiguous_counts_in(&self, archives: &Archives) -> bool {
        self.series.iter().any(|series| {
            let in_archive = |archive: &usize| -> BTreeSet<usize> {
                (0..series.len()).filter(|number| series[*number].contains(archive)).collect()
            };
            let parts: Vec<_> = archives.iter().map(in_archive).filter(|part| !part.is_empty()).collect();
            let have_equal_counts = parts.iter().all(|part| part.len() == parts[0].len());
            have_equal_counts && parts.iter().any(|part| part != &parts[0])
        })
    }

    /// Returns the archives to which the resource made from the parts in `archives` refers: those that contain all of it or, for each series
    /// if there is none, those that contain all of the series or, without one, some of it.
    pub fn endpoints_in(&self, archives: &Archives) -> Archives {
        let series = self.series.iter().map(|instances| {
            let instances = instances.iter().map(|instance| instance & archives);
            instances.filter(|instance| !instance.is_empty()).collect::<Vec<_>>()
        });
        let series: Vec<_> = series.collect();
        let complete = archives_with_all(series.iter().flatten());
        if !complete.is_empty() {
            return complete;
        }
        let endpoints_of = |instances: &Vec<Archives>| {
            let with_all = archives_with_all(instances);
            if with_all.is_empty() { instances.iter().flatten().copied().collect() } else { with_all }
        };
        series.iter().flat_map(endpoints_of).collect()
    }

    /// Returns the part of the study in `archive`; `None` if there is none.
    fn part(&self, archive: usize) -> Option<Study> {
        let mut study = Study::new(&self.uid).accession_number(self.accession_numbers[archive]);
        study = match self.patient_ids[archive] {
            "" => study.attribute("00100020", serde_json::json!({"vr": "LO"})),
            "P1" => study,
            patient_id => study.patient(patient_id, "Roe^Rick"),
        };
        for (series_number, series) in self.series.iter().enumerate() {
            let is_here =
                |(number, archives): (usize, &Archives)| archives.contains(&archive).then_some(number + 1);
            let numbers: Vec<_> = series.iter().enumerate().filter_map(is_here).collect();
            if !numbers.is_empty() {
                let uid = format!("{}.{series_number}", self.uid);
                study = study.series_with_instances(&uid, MODALITIES[series_number], numbers);
            }
        }
        self.archives().contains(&archive).then_some(study)
    }
}

/// Returns the archives that contain all of these instances.
pub fn archives_with_all<'a>(instances: impl IntoIterator<Item = &'a Archives>) -> Archives {
    instances.into_iter().cloned().reduce(|left, right| &left & &right).unwrap_or_default()
}

/// Starts a gateway in front of `archives`, whose ids are those of [`archive_id`].
pub async fn start(archives: Vec<Pacs>) -> (RunningGateway, Vec<RunningPacs>) {
    let mut running = Vec::new();
    for archive in archives {
        running.push(archive.start().await);
    }
    let mut settings = String::new();
    for (number, pacs) in running.iter().enumerate().skip(1) {
        write!(settings, "[[archive]]\nid = \"{}\"\nurl = \"{}\"\n", archive_id(number), pacs.url()).unwrap();
    }
    (RunningGateway::start(&running[0].url(), &settings).await, running)
}

/// Starts a gateway in front of archives that contain `studies`.
pub async fn start_with_studies(
    archive_count: usize,
    studies: &[DistributedStudy],
) -> (RunningGateway, Vec<RunningPacs>) {
    let content =
        |archive| studies.iter().filter_map(|study| study.part(archive)).fold(Pacs::new(), Pacs::with_study);
    start((0..archive_count).map(content).collect()).await
}

/// Returns the id of an archive: `main`, `archive-1`, `archive-2`, ...
pub fn archive_id(number: usize) -> String {
    if number == 0 { "main".to_owned() } else { format!("archive-{number}") }
}
