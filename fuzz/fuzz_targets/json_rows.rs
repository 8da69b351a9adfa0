#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dicomweb_gateway_fuzz::json_rows::check(data));
