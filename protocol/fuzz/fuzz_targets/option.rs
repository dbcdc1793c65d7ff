//! Fuzzes `decoders::option`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wsgid_protocol_fuzz::decoders::option(data));
