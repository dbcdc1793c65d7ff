//! Fuzzes `decoders::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wsgid_protocol_fuzz::decoders::frames(data));
