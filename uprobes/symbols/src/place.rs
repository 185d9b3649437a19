//! Where a probe may stand: functions in, the cheapest right place out.
//!
//! The kernel emulates a few instructions when a probe on them is hit; every other one it must single-step in a copy, which
//! costs ten times more in a virtual machine. Which ones: `branch_setup_xol_ops` and `push_setup_xol_ops` in
//! <https://github.com/torvalds/linux/blob/v6.12/arch/x86/kernel/uprobes.c>. Newer kernels emulate more (5-byte nops, `mov`
//! between registers); the set here is what every kernel since 5.10 does.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register,
};

use crate::elf::{Function, Image};

/// Instructions followed from a function's start: compilers set a call up within a dozen.
const MAX_STEPS: usize = 48;

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// How many of a function's register arguments the probe reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// `rdi` only.
    First,
    /// `rdi`, `rsi`, `rdx`.
    Three,
}

impl Arg {
    fn registers(self) -> &'static [Register] {
        match self {
            Self::First => &[Register::RDI],
            Self::Three => &[Register::RDI, Register::RSI, Register::RDX],
        }
    }
}

/// What a function passes in `rcx` to the function it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fourth {
    /// Its own fourth argument.
    Untouched,
    /// An address in its own frame.
    Stack,
    /// Anything else.
    Other,
}

/// The function a wrapper calls with the same first three arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callee {
    /// File offset for an entry and a return probe.
    pub offset: u64,
    /// What it gets as fourth argument.
    pub fourth: Fourth,
    /// File offset of the wrapper's own first instruction, which is single-stepped.
    pub wrapper: u64,
}

/// A place for a probe; all offsets are file offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In the function itself, on an emulated instruction.
    Cheap(u64),
    /// Only in the function it calls is there an emulated instruction.
    Callee(Callee),
    /// In the function itself, on an instruction that is single-stepped.
    SlowOnly(u64),
}

impl Spot {
    /// The file offset to attach to.
    #[must_use]
    pub fn offset(self) -> u64 {
        match self {
            Self::Cheap(offset) | Self::Callee(Callee { offset, .. }) | Self::SlowOnly(offset) => offset,
        }
    }

    /// Whether a hit is emulated by every kernel.
    #[must_use]
    pub fn cheap(self) -> bool {
        !matches!(self, Self::SlowOnly(_))
    }
}

impl Image<'_> {
    /// A place for an entry probe: the first emulated instruction that every call passes once with its arguments in place.
    #[must_use]
    pub fn entry(&self, function: &Function<'_>, arg: Arg) -> Spot {
        let start = after_endbr(function);
        let mut info = InstructionInfoFactory::new();
        for at in instructions(&start).take(MAX_STEPS) {
            let into = at.ip().wrapping_sub(start.address);
            if emulated(code_at(&start, into)) && !jumps_between(function, &start, into) {
                return Spot::Cheap(start.offset.saturating_add(into));
            }
            if at.flow_control() != FlowControl::Next || writes(&mut info, &at, arg.registers()) {
                break;
            }
        }
        Spot::SlowOnly(start.offset)
    }

    /// A place for an entry and a return probe. A return probe replaces the word at the stack pointer, so it stands on a
    /// function's first instruction (or right after `endbr64`) and nowhere else; where that one is single-stepped, in the
    /// first function that is called with the same three arguments.
    #[must_use]
    pub fn returning(&self, function: &Function<'_>) -> Spot {
        let start = after_endbr(function);
        if let Some(offset) = cheap_start(&start) {
            return Spot::Cheap(offset);
        }
        self.callee(&start).map_or(Spot::SlowOnly(start.offset), Spot::Callee)
    }

    /// Follows the fall-through path to the first call. Forward jumps off it are argument checks; where one skips to the call
    /// it leaves the arguments as they were.
    fn callee(&self, start: &Function<'_>) -> Option<Callee> {
        let mut info = InstructionInfoFactory::new();
        let mut fourth = Fourth::Untouched;
        for at in instructions(start).take(MAX_STEPS) {
            match at.flow_control() {
                FlowControl::Next => {}
                FlowControl::ConditionalBranch if at.near_branch_target() > at.ip() => continue,
                FlowControl::Call if at.code() == Code::Call_rel32_64 => {
                    let called = after_endbr(&self.function_at(at.near_branch_target(), 0)?);
                    return Some(Callee { offset: cheap_start(&called)?, fourth, wrapper: start.offset });
                }
                _ => return None,
            }
            if writes(&mut info, &at, Arg::Three.registers()) && !extends_rdx(&at) {
                return None;
            }
            if writes(&mut info, &at, &[Register::RCX]) {
                fourth = if takes_stack_address(&at) { Fourth::Stack } else { Fourth::Other };
            }
        }
        None
    }
}

/// The function without its leading `endbr64`.
fn after_endbr<'a>(function: &Function<'a>) -> Function<'a> {
    match function.code.strip_prefix(&ENDBR64) {
        Some(code) => Function {
            address: function.address.wrapping_add(ENDBR64.len() as u64),
            offset: function.offset.saturating_add(ENDBR64.len() as u64),
            code,
        },
        None => *function,
    }
}

/// The offset of the first instruction, if a return probe there is cheap and hit once a call.
fn cheap_start(start: &Function<'_>) -> Option<u64> {
    (emulated(start.code) && !jumps_between(start, start, 0)).then_some(start.offset)
}

/// Whether the kernel emulates the instruction at the start of `code`: `push` of a 64-bit register, relative jumps and calls,
/// the one-byte nop.
fn emulated(code: &[u8]) -> bool {
    matches!(
        code,
        [0x50..=0x57 | 0xe8 | 0xe9 | 0xeb | 0x70..=0x7f | 0x90, ..] | [0x41, 0x50..=0x57, ..] | [0x0f, 0x80..=0x8f, ..]
    )
}

/// Whether a jump in `function` leads to an instruction of `start` after its first byte and up to `into` (or, with `into` 0,
/// to its first): such a place could be hit twice a call, or with other registers.
fn jumps_between(function: &Function<'_>, start: &Function<'_>, into: u64) -> bool {
    let low = if into == 0 { start.address } else { start.address.wrapping_add(1) };
    let high = start.address.wrapping_add(into);
    instructions(function).any(|at| {
        (at.is_jcc_short_or_near() || at.is_jmp_short_or_near()) && (low..=high).contains(&at.near_branch_target())
    })
}

fn instructions<'a>(function: &Function<'a>) -> impl Iterator<Item = Instruction> + use<'a> {
    let mut decoder = Decoder::with_ip(64, function.code, function.address, DecoderOptions::NONE);
    std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode())).take_while(|at| !at.is_invalid())
}

fn code_at<'a>(function: &Function<'a>, into: u64) -> &'a [u8] {
    usize::try_from(into).ok().and_then(|into| function.code.get(into..)).unwrap_or_default()
}

/// Whether the instruction writes one of `registers`, whole or in part.
fn writes(info: &mut InstructionInfoFactory, at: &Instruction, registers: &[Register]) -> bool {
    info.info(at)
        .used_registers()
        .iter()
        .filter(|used| !matches!(used.access(), OpAccess::None | OpAccess::Read | OpAccess::CondRead))
        .any(|used| registers.contains(&used.register().full_register()))
}

/// `movslq %edx,%rdx` or `mov %edx,%edx`: an `int` length becomes a `size_t`.
fn extends_rdx(at: &Instruction) -> bool {
    let registers = at.op0_kind() == OpKind::Register && at.op1_kind() == OpKind::Register;
    let code = matches!(at.code(), Code::Movsxd_r64_rm32 | Code::Mov_r32_rm32 | Code::Mov_rm32_r32);
    registers && code && at.op0_register().full_register() == Register::RDX && at.op1_register() == Register::EDX
}

/// `mov %rsp,%rcx` or `lea N(%rsp),%rcx`, also from `%rbp`.
fn takes_stack_address(at: &Instruction) -> bool {
    let frame = |register| matches!(register, Register::RSP | Register::RBP);
    match at.code() {
        Code::Mov_r64_rm64 | Code::Mov_rm64_r64 => {
            at.op0_register() == Register::RCX && at.op1_kind() == OpKind::Register && frame(at.op1_register())
        }
        Code::Lea_r64_m => frame(at.memory_base()) && at.memory_index() == Register::None,
        _ => false,
    }
}
