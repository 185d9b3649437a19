#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sidelight_protocol_parsers::fuzzing::heads(data));
