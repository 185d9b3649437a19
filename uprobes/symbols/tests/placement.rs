//! Places for probes: in small ELF files assembled here, in the machine's libssl, and in damaged files.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use proptest::prelude::*;
use sidelight_symbols::{
    Arg, Error, Fourth, Image, Spot,
    openssl::{self, Hook},
};

/// Where the fixture's code lies: file offset and virtual address differ, as in real libraries.
const CODE_OFFSET: u64 = 0x1000;
const CODE_ADDRESS: u64 = 0x7000;

/// A shared library with these functions, one behind the other.
fn library(functions: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut code, mut names, mut symbols) = (Vec::new(), vec![0u8], vec![0u8; 24]);
    for (name, body) in functions {
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0x12, 0, 1, 0]); // GLOBAL FUNC, default visibility, section 1
        symbols.extend((CODE_ADDRESS + code.len() as u64).to_le_bytes());
        symbols.extend((body.len() as u64).to_le_bytes());
        names.extend(name.bytes().chain([0]));
        code.extend_from_slice(body);
    }
    let symbols_at = CODE_OFFSET + code.len() as u64;
    let names_at = symbols_at + symbols.len() as u64;
    let sections_at = names_at + names.len() as u64;

    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend([3, 0, 62, 0, 1, 0, 0, 0]); // ET_DYN, EM_X86_64
    for word in [0, 64, sections_at] {
        out.extend(u64::to_le_bytes(word));
    }
    out.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 4, 0, 3, 0]);
    out.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, R+X
    for word in [CODE_OFFSET, CODE_ADDRESS, CODE_ADDRESS, code.len() as u64, code.len() as u64, 0x1000] {
        out.extend(word.to_le_bytes());
    }
    out.resize(CODE_OFFSET as usize, 0);
    out.extend(&code);
    out.extend(&symbols);
    out.extend(&names);
    let mut section = |kind: u32, flags: u64, address: u64, offset: u64, size: usize, link: u32, entry: u64| {
        out.extend([0; 4]);
        out.extend(kind.to_le_bytes());
        for word in [flags, address, offset, size as u64] {
            out.extend(word.to_le_bytes());
        }
        out.extend(link.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(1u64.to_le_bytes());
        out.extend(entry.to_le_bytes());
    };
    section(0, 0, 0, 0, 0, 0, 0);
    section(1, 6, CODE_ADDRESS, CODE_OFFSET, code.len(), 0, 0);
    section(11, 2, 0, symbols_at, symbols.len(), 3, 24);
    section(3, 2, 0, names_at, names.len(), 0, 0);
    out
}

fn returning(body: &[u8], others: &[(&str, &[u8])]) -> Spot {
    let mut functions = vec![("f", body)];
    functions.extend_from_slice(others);
    let data = library(&functions);
    let image = Image::parse(&data).unwrap();
    image.returning(&image.function("f").unwrap())
}

fn entry(body: &[u8], arg: Arg) -> Spot {
    let data = library(&[("f", body)]);
    let image = Image::parse(&data).unwrap();
    image.entry(&image.function("f").unwrap(), arg)
}

const PUSH_RBX: &[u8] = &[0x53, 0x90, 0x90, 0xc3];

#[test]
fn a_push_at_the_start_carries_entry_and_return() {
    assert_eq!(returning(PUSH_RBX, &[]), Spot::Cheap(CODE_OFFSET));
    assert_eq!(returning(&[0x41, 0x56, 0xc3], &[]), Spot::Cheap(CODE_OFFSET), "push %r14");
}

#[test]
fn endbr64_is_skipped() {
    assert_eq!(returning(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0xc3], &[]), Spot::Cheap(CODE_OFFSET + 4));
}

#[test]
fn single_stepped_starts_are_named_as_such() {
    for (what, body) in [
        ("sub $0x18,%rsp", &[0x48, 0x83, 0xec, 0x18, 0xc3][..]),
        ("ret", &[0xc3]),
        ("nopw (the 66 prefix is refused by older kernels)", &[0x66, 0x90, 0xc3]),
        ("push $1", &[0x6a, 0x01, 0xc3]),
        ("rep push", &[0xf3, 0x53, 0xc3]),
    ] {
        assert_eq!(returning(body, &[]), Spot::SlowOnly(CODE_OFFSET), "{what}");
    }
}

#[test]
fn a_start_that_is_jumped_back_to_carries_no_return_probe() {
    // push %rbx; pop %rbx; jne start; ret: the second hit would replace a word that is no return address.
    assert_eq!(returning(&[0x53, 0x5b, 0x75, 0xfc, 0xc3], &[]), Spot::SlowOnly(CODE_OFFSET));
}

/// sub $8,%rsp; `middle`; call the next function; ret
fn wrapper(middle: &[u8]) -> Vec<u8> {
    let mut body = vec![0x48, 0x83, 0xec, 0x08];
    body.extend(middle);
    body.extend([0xe8, 1, 0, 0, 0, 0xc3]);
    body
}

fn callee_of(middle: &[u8], callee: &[u8]) -> Option<(u64, Fourth)> {
    let body = wrapper(middle);
    match returning(&body, &[("inner", callee)]) {
        Spot::Callee(callee) => {
            assert_eq!(callee.wrapper, CODE_OFFSET);
            Some((callee.offset - CODE_OFFSET - body.len() as u64, callee.fourth))
        }
        Spot::SlowOnly(offset) => {
            assert_eq!(offset, CODE_OFFSET);
            None
        }
        Spot::Cheap(_) => panic!("cheap"),
    }
}

#[test]
fn a_callee_is_taken_when_the_arguments_reach_it_untouched() {
    assert_eq!(callee_of(&[], PUSH_RBX), Some((0, Fourth::Untouched)));
    assert_eq!(callee_of(&[], &[0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0xc3]), Some((4, Fourth::Untouched)), "behind endbr64");
    // xor %eax,%eax; test %edx,%edx; js +11; mov %rsp,%rcx; movslq %edx,%rdx
    let as_in_debian = [0x31, 0xc0, 0x85, 0xd2, 0x78, 0x0b, 0x48, 0x89, 0xe1, 0x48, 0x63, 0xd2];
    assert_eq!(callee_of(&as_in_debian, PUSH_RBX), Some((0, Fourth::Stack)));
    assert_eq!(callee_of(&[0x48, 0x8d, 0x4c, 0x24, 0x04], PUSH_RBX), Some((0, Fourth::Stack)), "lea 4(%rsp),%rcx");
    assert_eq!(callee_of(&[0x31, 0xc9], PUSH_RBX), Some((0, Fourth::Other)), "xor %ecx,%ecx");
}

#[test]
fn a_callee_is_refused_when_an_argument_may_have_changed() {
    for (what, middle) in [
        ("mov %rax,%rdi", &[0x48, 0x89, 0xc7][..]),
        ("xor %esi,%esi", &[0x31, 0xf6]),
        ("mov %dl,..: mov $1,%dl", &[0xb2, 0x01]),
        ("xchg %rax,%rdx", &[0x48, 0x92]),
        ("movslq %eax,%rdx", &[0x48, 0x63, 0xd0]),
        ("movslq %edi,%rdi", &[0x48, 0x63, 0xff]),
        ("pop %rsi", &[0x5e]),
        ("cmove %rax,%rdi", &[0x48, 0x0f, 0x44, 0xf8]),
        ("rep movsb", &[0xf3, 0xa4]),
        ("an indirect call before it", &[0xff, 0xd0]),
        ("a jump back", &[0x75, 0xfe]),
        ("ret before it", &[0xc3]),
    ] {
        assert_eq!(callee_of(middle, PUSH_RBX), None, "{what}");
    }
    assert_eq!(callee_of(&[], &[0x48, 0x83, 0xec, 0x08, 0xc3]), None, "single-stepped as well");
    assert_eq!(callee_of(&[], &[0xff, 0x25, 0, 0, 0, 0]), None, "a PLT stub");
}

#[test]
fn an_entry_probe_moves_to_an_emulated_instruction_with_the_argument_in_place() {
    // test %rdi,%rdi; je +1; ret: as OpenSSL's SSL_free.
    assert_eq!(entry(&[0x48, 0x85, 0xff, 0x74, 0x01, 0xc3, 0xc3], Arg::First), Spot::Cheap(CODE_OFFSET + 3));
    // mov %rsi,%rax; push %rbx
    assert_eq!(entry(&[0x48, 0x89, 0xf0, 0x53, 0xc3], Arg::Three), Spot::Cheap(CODE_OFFSET + 3));
    // mov %rdi,%rsi; push %rbx: fine for one argument, wrong for three.
    assert_eq!(entry(&[0x48, 0x89, 0xfe, 0x53, 0xc3], Arg::First), Spot::Cheap(CODE_OFFSET + 3));
    assert_eq!(entry(&[0x48, 0x89, 0xfe, 0x53, 0xc3], Arg::Three), Spot::SlowOnly(CODE_OFFSET));
    // A loop around the push: mov %rsi,%rax; push %rbx; pop %rbx; jne push; ret
    assert_eq!(entry(&[0x48, 0x89, 0xf0, 0x53, 0x5b, 0x75, 0xfc, 0xc3], Arg::First), Spot::SlowOnly(CODE_OFFSET));
}

#[test]
fn what_is_missing_is_named() {
    let data = library(&[("f", PUSH_RBX)]);
    let image = Image::parse(&data).unwrap();
    assert!(matches!(image.function("g"), Err(Error::NoFunction("g"))));
    assert!(matches!(Image::parse(b"#!/bin/sh\n"), Err(Error::Elf(_))));
    let mut arm = data.clone();
    arm[18] = 183;
    assert!(matches!(Image::parse(&arm), Err(Error::Machine(183))));
    assert_eq!(openssl::plan(&data).unwrap_err().to_string(), "no function `SSL_read` in its symbol tables");
}

#[test]
fn a_shared_callee_with_the_out_pointer_is_probed_once_and_else_each_function_alone() {
    let plain = wrapper(&[0x48, 0x89, 0xe1, 0x48, 0x63, 0xd2]); // mov %rsp,%rcx; movslq %edx,%rdx
    let slow = [0x48, 0x83, 0xec, 0x08, 0xc3];
    let far = [0x48, 0x83, 0xec, 0x08, 0xe8, 0xe5, 0xff, 0xff, 0xff, 0xc3]; // calls `inner` of `plain`
    // SSL_read (16 bytes), its callee (4), SSL_read_ex: its call at 24 returns to 29, 29 - 13 = 16.
    let mut ex = far;
    ex[5] = (16i32 - (20 + 9)) as u8;
    let data = library(&[
        ("SSL_read", &plain),
        ("inner", PUSH_RBX),
        ("SSL_read_ex", &ex),
        ("SSL_write", PUSH_RBX),
        ("SSL_write_ex", &slow),
    ]);
    assert_eq!(plain.len(), 16);
    let plan = openssl::plan(&data).unwrap();
    let found: Vec<_> = plan.probes.iter().map(|p| (p.hook, p.spot.offset() - CODE_OFFSET, p.spot.cheap())).collect();
    assert_eq!(found, [(Hook::ReadOut, 16, true), (Hook::WriteCount, 30, true), (Hook::WriteOut, 34, false)]);
    assert_eq!(plan.missing.len(), 3, "handshake, free and clear are missed without losing the rest");
}

/// The machine's own library: Debian's libssl3.
fn libssl() -> Vec<u8> {
    std::fs::read("/usr/lib/x86_64-linux-gnu/libssl.so.3").expect("libssl3 is needed by this test")
}

#[test]
fn no_probe_of_the_machines_libssl_is_single_stepped() {
    let data = libssl();
    let plan = openssl::plan(&data).unwrap();
    assert!(plan.missing.is_empty(), "{:?}", plan.missing);
    let hooks: Vec<_> = plan.probes.iter().map(|p| p.hook).collect();
    assert_eq!(hooks, [Hook::ReadOut, Hook::WriteOut, Hook::Handshake, Hook::Free, Hook::Clear], "{:#x?}", plan.probes);
    for probe in &plan.probes {
        assert!(probe.spot.cheap(), "{probe:#x?}");
    }
    let offsets: std::collections::HashSet<_> = plan.probes.iter().map(|p| p.spot.offset()).collect();
    assert_eq!(offsets.len(), plan.probes.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_files_give_errors_or_places_inside_the_file(
        changes in prop::collection::vec((0usize..6000, any::<u8>()), 1..24),
        cut in prop::option::of(0usize..6000),
    ) {
        let mut data = library(&[
            ("SSL_read", &wrapper(&[0x48, 0x89, 0xe1])),
            ("SSL_read_ex", PUSH_RBX),
            ("SSL_write", PUSH_RBX),
            ("SSL_write_ex", PUSH_RBX),
            ("SSL_free", &[0x48, 0x85, 0xff, 0x74, 0x01, 0xc3, 0xc3]),
        ]);
        // Headers, code and tables are what matters; between them lies padding.
        let places: Vec<usize> = (0..128).chain(CODE_OFFSET as usize..data.len()).collect();
        for (at, value) in changes {
            data[places[at % places.len()]] = value;
        }
        data.truncate(cut.map_or(usize::MAX, |cut| places[cut % places.len()]));
        if let Ok(plan) = openssl::plan(&data) {
            for probe in plan.probes {
                prop_assert!(probe.spot.offset() < data.len() as u64, "{probe:?}");
            }
        }
    }
}
