//! dicomweb
