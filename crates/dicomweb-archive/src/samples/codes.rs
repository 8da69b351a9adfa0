//! Codes of the sample studies, from all coding schemes that are common in archives (PS3.16 table 8-1).

use super::declaration::Code;

macro_rules! codes {
    ($($name:ident = ($value:literal, $scheme:literal, $meaning:literal);)*) => {
        $(
            #[doc = concat!($value, " of ", $scheme, ": ", $meaning, ".")]
            pub(super) const $name: Code = Code { value: $value, scheme: $scheme, meaning: $meaning };
        )*
    };
}

codes! {
    CT_OF_CHEST = ("169069000", "SCT", "CT of chest");
    CT_CHEST_LOINC = ("24627-2", "LN", "Chest CT");
    CHEST_RADLEX = ("RPID2", "RADLEX", "XR CHEST PA");
    MR_OF_KNEE = ("241650002", "SCT", "MRI of knee");
    MR_OF_BRAIN_LOCAL = ("MRB", "99DEMO", "MR brain, local catalogue");
    CT_OF_ABDOMEN_SRT = ("P5-08104", "SRT", "CT of abdomen");
    CT_OF_HEAD = ("303653007", "SCT", "CT of head");
    CT_OF_HEAD_LOCAL = ("KTG", "99DEMO", "CT head, local catalogue");
    MAMMOGRAPHY = ("71651007", "SCT", "Mammography");
    PET_CT = ("450436003", "SCT", "PET/CT");
    MR_OF_LUMBAR_SPINE = ("24968-0", "LN", "MR Lumbar spine");
    CT_ANGIOGRAPHY = ("418272005", "SCT", "CT angiography");
    DYSPNEA = ("267036007", "SCT", "Dyspnea");
    COUGH_ICD = ("R05", "I10", "Cough");
    THORAX = ("51185008", "SCT", "Thorax");
    KNEE = ("72696002", "SCT", "Knee");
    KNEE_SRT = ("T-D9200", "SRT", "Knee");
    BREAST = ("76752008", "SCT", "Breast");
    LUNG = ("39607008", "SCT", "Lung");
    TISSUE_SPECIMEN = ("119376003", "SCT", "Tissue specimen");
    TISSUE = ("85756007", "SCT", "Tissue");
    REPORT = ("18748-4", "LN", "Diagnostic imaging report");
    FINDING = ("121071", "DCM", "Finding");
    FINDINGS = ("121070", "DCM", "Findings");
    CONCLUSION = ("121077", "DCM", "Conclusion");
    LANGUAGE = ("121049", "DCM", "Language of Content Item and Descendants");
    ENGLISH = ("en", "RFC5646", "English");
    NODULE = ("27925004", "SCT", "Nodule");
    KEY_OBJECT_DESCRIPTION = ("113012", "DCM", "Key Object Description");
    FOR_REFERRING_PROVIDER = ("113002", "DCM", "For Referring Provider");
    SOURCE_IMAGE = ("121322", "DCM", "Source image for image processing operation");
    SEGMENTATION = ("113076", "DCM", "Segmentation");
    FDG = ("35321007", "SCT", "Fluorodeoxyglucose F^18^");
    FLUORINE_18 = ("77004003", "SCT", "^18^Fluorine");
    CRANIO_CAUDAL = ("399162004", "SCT", "cranio-caudal");
    POSTERO_ANTERIOR = ("399348003", "SCT", "postero-anterior");
}
