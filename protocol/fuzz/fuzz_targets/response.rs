//! Fuzzes `decoders::response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wsgid_protocol_fuzz::decoders::response(data));
