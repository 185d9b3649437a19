#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidelight_protocol_parsers::fuzzing::script(&sidelight_protocol_parsers::http2::PROTOCOL, data);
});
