//! The types that declare sample patients, studies and series. Omitted fields have the defaults of [`Patient::PLAIN`],
//! [`StudyDeclaration::PLAIN`] and [`SeriesDeclaration::PLAIN`]. This module does not know how files are written.

/// An attribute that can be missing, present without a value, or present with a value (type 2 and 3 attributes, PS3.5
/// 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The attribute is not in the file.
    Absent,
    /// The attribute is in the file, without a value.
    Empty,
    /// The attribute is in the file, with this value.
    Is(&'static str),
}

/// A fictional person.
#[derive(Debug, Clone, Copy)]
pub struct Patient {
    /// Patient ID.
    pub id: Given,
    /// Issuer of Patient ID.
    pub issuer: Option<Issuer>,
    /// Patient's Name, with any number of component groups.
    pub name: Given,
    /// Specific Character Set of all files of the patient.
    pub character_sets: &'static [&'static str],
    /// Birth date.
    pub birth_date: Given,
    /// Sex.
    pub sex: Given,
    /// The studies.
    pub studies: &'static [StudyDeclaration],
}

/// An issuer of identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issuer {
    /// Local name.
    pub local: &'static str,
    /// Universal identifier, an OID.
    pub universal: Option<&'static str>,
}

/// A code of a coding scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Code Value.
    pub value: &'static str,
    /// Coding Scheme Designator.
    pub scheme: &'static str,
    /// Code Meaning.
    pub meaning: &'static str,
}

/// A specimen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Specimen {
    /// Specimen Identifier.
    pub id: &'static str,
    /// Issuer of the Specimen Identifier.
    pub issuer: Option<Issuer>,
    /// Specimen Short Description.
    pub description: Given,
    /// `SpecimenTypeCodeSequence`.
    pub kind: Option<Code>,
}

/// A study.
#[derive(Debug, Clone, Copy)]
pub struct StudyDeclaration {
    /// Study Date.
    pub date: Given,
    /// Study Time.
    pub time: Given,
    /// Timezone Offset From UTC.
    pub zone: Given,
    /// Study ID.
    pub id: Given,
    /// Accession Number.
    pub accession: Given,
    /// Issuer of the accession numbers.
    pub accession_issuer: Option<Issuer>,
    /// Accession numbers of further orders of the study: `ReferencedRequestSequence` of its report.
    pub further_accessions: &'static [&'static str],
    /// Study Description.
    pub description: Given,
    /// `ProcedureCodeSequence`.
    pub procedures: &'static [Code],
    /// `ReasonForRequestedProcedureCodeSequence`, in `RequestAttributesSequence` of the series.
    pub reasons: &'static [Code],
    /// Reason for the Requested Procedure, in the same item.
    pub reason: Given,
    /// Referring Physician's Name.
    pub referrer: Given,
    /// Identification of the referring physician: a number and the institution that assigned it.
    pub referrer_identification: Option<(&'static str, &'static str)>,
    /// Name of Physician(s) Reading Study.
    pub readers: &'static [&'static str],
    /// Admission ID, the identifier of the visit.
    pub admission: Given,
    /// Issuer of the Admission ID.
    pub admission_issuer: Option<Issuer>,
    /// Current Patient Location.
    pub patient_location: Given,
    /// Institution Name.
    pub institution: Given,
    /// Institutional Department Name.
    pub department: Given,
    /// Performed Procedure Step Description. If it is not absent, the images refer to a performed procedure step.
    pub performed_step: Given,
    /// Study Comments.
    pub comments: Given,
    /// Transfer syntax of the files.
    pub syntax: Syntax,
    /// The series.
    pub series: &'static [SeriesDeclaration],
}

/// A transfer syntax of the sample files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// Explicit VR Little Endian.
    Explicit,
    /// Implicit VR Little Endian.
    Implicit,
    /// RLE Lossless, for images.
    Rle,
}

/// A series.
#[derive(Debug, Clone, Copy)]
pub struct SeriesDeclaration {
    /// Kind of its objects, which determines the modality.
    pub kind: Kind,
    /// Series Description.
    pub description: Given,
    /// Body Part Examined.
    pub body_part: Given,
    /// Laterality.
    pub laterality: Given,
    /// `AnatomicRegionSequence`.
    pub region: Option<Code>,
    /// Performing Physician's Name.
    pub performers: &'static [&'static str],
    /// Operators' Name.
    pub operators: &'static [&'static str],
    /// Protocol Name.
    pub protocol: Given,
    /// Device Serial Number.
    pub serial_number: Given,
    /// Comments on the Performed Procedure Step.
    pub comments: Given,
    /// `SpecimenDescriptionSequence`.
    pub specimens: &'static [Specimen],
    /// Whether Modality is written. Some real series do not have this attribute.
    pub with_modality: bool,
    /// Number of instances.
    pub instances: u16,
    /// Number of frames per instance, for multi-frame kinds.
    pub frames: u16,
    /// Width and height of the images in pixels.
    pub size: u16,
}

/// A kind of composite object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// CT Image.
    Ct,
    /// MR Image.
    Mr,
    /// Enhanced MR Image: multi-frame with functional groups.
    EnhancedMr,
    /// Ultrasound Image.
    Us,
    /// Ultrasound Multi-frame Image.
    UsMultiFrame,
    /// Computed Radiography Image.
    Cr,
    /// Digital X-Ray Image, for presentation.
    Dx,
    /// Digital Mammography X-Ray Image, for presentation.
    Mg,
    /// X-Ray Angiographic Image: multi-frame.
    Xa,
    /// Positron Emission Tomography Image.
    Pt,
    /// Segmentation of the study's first series.
    Seg,
    /// Basic Text SR: a report on the study's first series.
    Sr,
    /// Key Object Selection from the study's first series.
    Ko,
    /// Grayscale Softcopy Presentation State of the study's first series.
    Pr,
}

impl Kind {
    /// Returns the value of Modality.
    pub fn modality(self) -> &'static str {
        match self {
            Self::Ct => "CT",
            Self::Mr | Self::EnhancedMr => "MR",
            Self::Us | Self::UsMultiFrame => "US",
            Self::Cr => "CR",
            Self::Dx => "DX",
            Self::Mg => "MG",
            Self::Xa => "XA",
            Self::Pt => "PT",
            Self::Seg => "SEG",
            Self::Sr => "SR",
            Self::Ko => "KO",
            Self::Pr => "PR",
        }
    }
}

impl Patient {
    /// The defaults of a patient.
    pub const PLAIN: Self = Self {
        id: Given::Absent,
        issuer: None,
        name: Given::Empty,
        character_sets: &[],
        birth_date: Given::Is("19700101"),
        sex: Given::Is("O"),
        studies: &[],
    };
}

impl StudyDeclaration {
    /// The defaults of a study: few attributes.
    pub const PLAIN: Self = Self {
        date: Given::Empty,
        time: Given::Empty,
        zone: Given::Absent,
        id: Given::Is("1"),
        accession: Given::Empty,
        accession_issuer: None,
        further_accessions: &[],
        description: Given::Absent,
        procedures: &[],
        reasons: &[],
        reason: Given::Absent,
        referrer: Given::Empty,
        referrer_identification: None,
        readers: &[],
        admission: Given::Absent,
        admission_issuer: None,
        patient_location: Given::Absent,
        institution: Given::Absent,
        department: Given::Absent,
        performed_step: Given::Absent,
        comments: Given::Absent,
        syntax: Syntax::Explicit,
        series: &[],
    };
}

impl SeriesDeclaration {
    /// The defaults of a series: one small CT slice.
    pub const PLAIN: Self = Self {
        kind: Kind::Ct,
        description: Given::Absent,
        body_part: Given::Absent,
        laterality: Given::Absent,
        region: None,
        performers: &[],
        operators: &[],
        protocol: Given::Absent,
        serial_number: Given::Absent,
        comments: Given::Absent,
        specimens: &[],
        with_modality: true,
        instances: 1,
        frames: 1,
        size: 64,
    };
}
