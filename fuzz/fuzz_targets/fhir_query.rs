#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dicomweb_gateway_fuzz::fhir_query::check(data));
