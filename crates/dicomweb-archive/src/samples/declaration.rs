//! The types that declare sample patients, studies and series. Omitted fields have the defaults of [`Patient::DEFAULTS`],
//! [`StudyDeclaration::DEFAULTS`] and [`SeriesDeclaration::DEFAULTS`]. This module does not know how files are written.

/// An attribute that can be missing, present without a value, or present with a value (type 2 and 3 attributes, PS3.5
/// 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeValue {
    /// The attribute is not in the file.
    Absent,
    /// The attribute is in the file, without a value.
    Empty,
    /// The attribute is in the file, with this value.
    Present(&'static str),
}

/// A fictional person.
#[derive(Debug, Clone, Copy)]
pub struct Patient {
    /// Patient ID.
    pub id: AttributeValue,
    /// Issuer of Patient ID.
    pub issuer: Option<Issuer>,
    /// Patient's Name, with any number of component groups.
    pub name: AttributeValue,
    /// Specific Character Set of all files of the patient.
    pub character_sets: &'static [&'static str],
    /// Birth date.
    pub birth_date: AttributeValue,
    /// Sex.
    pub sex: AttributeValue,
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
    pub description: AttributeValue,
    /// `SpecimenTypeCodeSequence`.
    pub kind: Option<Code>,
}

/// A study.
#[derive(Debug, Clone, Copy)]
pub struct StudyDeclaration {
    /// Study Date.
    pub date: AttributeValue,
    /// Study Time.
    pub time: AttributeValue,
    /// Timezone Offset From UTC.
    pub zone: AttributeValue,
    /// Study ID.
    pub id: AttributeValue,
    /// Accession Number.
    pub accession: AttributeValue,
    /// Issuer of the accession numbers.
    pub accession_issuer: Option<Issuer>,
    /// Accession numbers of further orders of the study: `ReferencedRequestSequence` of its report.
    pub further_accessions: &'static [&'static str],
    /// Study Description.
    pub description: AttributeValue,
    /// `ProcedureCodeSequence`.
    pub procedures: &'static [Code],
    /// `ReasonForRequestedProcedureCodeSequence`, in `RequestAttributesSequence` of the series.
    pub reasons: &'static [Code],
    /// Reason for the Requested Procedure, in the same item.
    pub reason: AttributeValue,
    /// Referring Physician's Name.
    pub referrer: AttributeValue,
    /// Identification of the referring physician: a number and the institution that assigned it.
    pub referrer_identification: Option<(&'static str, &'static str)>,
    /// Name of Physician(s) Reading Study.
    pub readers: &'static [&'static str],
    /// Admission ID, the identifier of the visit.
    pub admission: AttributeValue,
    /// Issuer of the Admission ID.
    pub admission_issuer: Option<Issuer>,
    /// Current Patient Location.
    pub patient_location: AttributeValue,
    /// Institution Name.
    pub institution: AttributeValue,
    /// Institutional Department Name.
    pub department: AttributeValue,
    /// Performed Procedure Step Description. If it is not absent, the images refer to a performed procedure step.
    pub performed_step: AttributeValue,
    /// Study Comments.
    pub comments: AttributeValue,
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
    pub description: AttributeValue,
    /// Body Part Examined.
    pub body_part: AttributeValue,
    /// Laterality.
    pub laterality: AttributeValue,
    /// `AnatomicRegionSequence`.
    pub region: Option<Code>,
    /// Performing Physician's Name.
    pub performers: &'static [&'static str],
    /// Operators' Name.
    pub operators: &'static [&'static str],
    /// Protocol Name.
    pub protocol: AttributeValue,
    /// Device Serial Number.
    pub serial_number: AttributeValue,
    /// Comments on the Performed Procedure Step.
    pub comments: AttributeValue,
    /// `SpecimenDescriptionSequence`.
    pub specimens: &'static [Specimen],
    /// Whether the series has Modality. Some real series do not have this attribute.
    pub has_modality: bool,
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
    pub const DEFAULTS: Self = Self {
        id: AttributeValue::Absent,
        issuer: None,
        name: AttributeValue::Empty,
        character_sets: &[],
        birth_date: AttributeValue::Present("19700101"),
        sex: AttributeValue::Present("O"),
        studies: &[],
    };
}

impl StudyDeclaration {
    /// The defaults of a study: few attributes.
    pub const DEFAULTS: Self = Self {
        date: AttributeValue::Empty,
        time: AttributeValue::Empty,
        zone: AttributeValue::Absent,
        id: AttributeValue::Present("1"),
        accession: AttributeValue::Empty,
        accession_issuer: None,
        further_accessions: &[],
        description: AttributeValue::Absent,
        procedures: &[],
        reasons: &[],
        reason: AttributeValue::Absent,
        referrer: AttributeValue::Empty,
        referrer_identification: None,
        readers: &[],
        admission: AttributeValue::Absent,
        admission_issuer: None,
        patient_location: AttributeValue::Absent,
        institution: AttributeValue::Absent,
        department: AttributeValue::Absent,
        performed_step: AttributeValue::Absent,
        comments: AttributeValue::Absent,
        syntax: Syntax::Explicit,
        series: &[],
    };
}

impl SeriesDeclaration {
    /// The defaults of a series: one small CT slice.
    pub const DEFAULTS: Self = Self {
        kind: Kind::Ct,
        description: AttributeValue::Absent,
        body_part: AttributeValue::Absent,
        laterality: AttributeValue::Absent,
        region: None,
        performers: &[],
        operators: &[],
        protocol: AttributeValue::Absent,
        serial_number: AttributeValue::Absent,
        comments: AttributeValue::Absent,
        specimens: &[],
        has_modality: true,
        instances: 1,
        frames: 1,
        size: 64,
    };
}
