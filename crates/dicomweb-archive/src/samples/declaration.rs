//! The words in which sample patients and studies are declared. What a declaration leaves out has the plain value of
//! [`Patient::PLAIN`], [`StudyDeclaration::PLAIN`] and [`SeriesDeclaration::PLAIN`].

/// An attribute that may be missing, present without a value, or given (type 2 and 3 attributes, PS3.5 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Not in the file at all.
    Absent,
    /// In the file, without a value.
    Empty,
    /// In the file with this value.
    Is(&'static str),
}

/// A person who does not exist.
#[derive(Debug, Clone, Copy)]
pub struct Patient {
    /// Patient ID.
    pub id: Given,
    /// Who issued it.
    pub issuer: Option<Issuer>,
    /// Name, in as many groups as are declared.
    pub name: Given,
    /// Specific Character Set of all the patient's files.
    pub character_sets: &'static [&'static str],
    /// Birth date.
    pub birth_date: Given,
    /// Sex.
    pub sex: Given,
    /// What was done.
    pub studies: &'static [StudyDeclaration],
}

/// An authority that issues identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issuer {
    /// Its local name.
    pub local: &'static str,
    /// Its universal identifier, an OID.
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

/// What was taken from a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Specimen {
    /// Specimen Identifier.
    pub id: &'static str,
    /// Who issued it.
    pub issuer: Option<Issuer>,
    /// Specimen Short Description.
    pub description: Given,
    /// `SpecimenTypeCodeSequence`.
    pub kind: Option<Code>,
}

/// One study.
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
    /// Who issued the accession numbers.
    pub accession_issuer: Option<Issuer>,
    /// Accession numbers of further orders that the study answers: `ReferencedRequestSequence` of its report.
    pub further_accessions: &'static [&'static str],
    /// Study Description.
    pub description: Given,
    /// `ProcedureCodeSequence`.
    pub procedures: &'static [Code],
    /// `ReasonForRequestedProcedureCodeSequence`, in the series' `RequestAttributesSequence`.
    pub reasons: &'static [Code],
    /// Reason for the Requested Procedure, beside it.
    pub reason: Given,
    /// Referring Physician's Name.
    pub referrer: Given,
    /// The referring physician's identification: a number and the institution that gave it.
    pub referrer_identification: Option<(&'static str, &'static str)>,
    /// Name of Physician(s) Reading Study.
    pub readers: &'static [&'static str],
    /// Admission ID, the number of the visit.
    pub admission: Given,
    /// Who issued the admission ID.
    pub admission_issuer: Option<Issuer>,
    /// Current Patient Location.
    pub patient_location: Given,
    /// Institution Name.
    pub institution: Given,
    /// Institutional Department Name.
    pub department: Given,
    /// Performed Procedure Step Description; with one, the images belong to a performed procedure step.
    pub performed_step: Given,
    /// Study Comments.
    pub comments: Given,
    /// How the files are written.
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

/// One series.
#[derive(Debug, Clone, Copy)]
pub struct SeriesDeclaration {
    /// What kind of objects it holds, and so its modality.
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
    /// Whether Modality is written: some real series lack it.
    pub with_modality: bool,
    /// How many instances.
    pub instances: u16,
    /// How many frames each has, where the kind has frames.
    pub frames: u16,
    /// Width and height of the images.
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
    /// Modality.
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
    /// An adult without any peculiarity.
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
    /// A study of which little is known.
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
    /// One small CT slice.
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
