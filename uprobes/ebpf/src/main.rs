//! Sidelight's eBPF programs: what processes read from and write to their sockets, as records in one ring.
//!
//! In: kernel tracepoints and, for TLS, uprobes. Out: the records of [`sidelight_events`] in the ring `RING`, and
//! counters. One object for every kernel since 5.8: it has only map types known there, and its programs are loaded one by
//! one, so that a hook the kernel does not have costs only itself. x86-64 only, as far as user registers are read.
//!
//! | program | hook | job |
//! |---|---|---|
//! | `sock_send`, `sock_recv` | tp_btf/sock_send_length, sock_recv_length (6.3) | mechanism (a): bytes of socket calls |
//! | `sys_enter`, `sys_exit` | tp_btf/sys_enter, sys_exit (5.5) | mechanism (b): the same by system call |
//! | `send_deep`, `recv_deep`, `exit_deep` | tail calls of `sock_send`, `sock_recv`, `sys_exit` | long calls ([`deep`]) |
//! | `state` | tp_btf/inet_sock_set_state | begin and end of TCP connections |
//! | `fork`, `exec`, `exit` | tp_btf/sched_process_* | selection follows processes |
//! | `tls_*` | uprobes, uretprobes | plaintext of TLS libraries ([`tls`]) |
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod close;
mod conn;
mod copy;
mod count;
mod deep;
mod http2;
mod kernel;
mod life;
mod maps;
mod select;
mod socket;
mod socket_length;
mod syscall;
mod tls;

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, uprobe, uretprobe},
    programs::{BtfTracePointContext, ProbeContext, RetProbeContext},
};
use sidelight_events::direction;

use deep::Hook;
use tls::{Length, Registers, role};

/// A socket call that wrote has ended. 6.3, `net/socket.c: call_trace_sock_send_length`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send(ctx: BtfTracePointContext) -> i32 {
    socket_length::ended(&ctx, direction::EGRESS)
}

/// A socket call that read has ended. 6.3, `net/socket.c: call_trace_sock_recv_length`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv(ctx: BtfTracePointContext) -> i32 {
    socket_length::ended(&ctx, direction::INGRESS)
}

/// The rest of `sock_send` for calls of connections that are captured deep.
#[btf_tracepoint(function = "sock_send_length")]
pub fn send_deep(ctx: BtfTracePointContext) -> i32 {
    deep::run(&ctx, Hook::Send)
}

/// The same of `sock_recv`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn recv_deep(ctx: BtfTracePointContext) -> i32 {
    deep::run(&ctx, Hook::Recv)
}

/// The same of `sys_exit`.
#[btf_tracepoint(function = "sys_exit")]
pub fn exit_deep(ctx: BtfTracePointContext) -> i32 {
    deep::run(&ctx, Hook::Exit)
}

/// A system call begins. 5.5, `kernel/entry/common.c`.
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    syscall::enter(&ctx)
}

/// A system call ended. 5.5, `kernel/entry/common.c`.
// Not inlined by itself, and then its name, which stays in the object, depends on the path of the checkout.
#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    syscall::exit(&ctx)
}

/// A TCP socket changes its state. 4.16, `net/ipv4/af_inet.c: inet_sk_set_state`.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn state(ctx: BtfTracePointContext) -> i32 {
    close::state_changed(&ctx)
}

/// A task is created. `kernel/fork.c: kernel_clone`.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn fork(ctx: BtfTracePointContext) -> i32 {
    life::forked(&ctx)
}

/// A process replaced its program. `fs/exec.c: exec_binprm`.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn exec(ctx: BtfTracePointContext) -> i32 {
    life::executed(&ctx)
}

/// A task ends. `kernel/exit.c: do_exit`.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn exit(ctx: BtfTracePointContext) -> i32 {
    life::exited(&ctx)
}

/// `SSL_read(ssl, buf, num)`: the result is the length.
#[uprobe]
pub fn tls_read(ctx: ProbeContext) -> u32 {
    tls::enter(Registers(ctx.as_ptr().cast()), role::READ, Length::Result)
}

/// `SSL_read_ex(ssl, buf, num, &length)`.
#[uprobe]
pub fn tls_read_ex(ctx: ProbeContext) -> u32 {
    tls::enter(Registers(ctx.as_ptr().cast()), role::READ, Length::Pointer)
}

/// `SSL_write(ssl, buf, num)`: the result is the length.
#[uprobe]
pub fn tls_write(ctx: ProbeContext) -> u32 {
    tls::enter(Registers(ctx.as_ptr().cast()), role::WRITE, Length::Result)
}

/// `SSL_write_ex(ssl, buf, num, &length)`.
#[uprobe]
pub fn tls_write_ex(ctx: ProbeContext) -> u32 {
    tls::enter(Registers(ctx.as_ptr().cast()), role::WRITE, Length::Pointer)
}

/// `SSL_do_handshake(ssl)`.
#[uprobe]
pub fn tls_handshake(ctx: ProbeContext) -> u32 {
    tls::enter(Registers(ctx.as_ptr().cast()), role::HANDSHAKE, Length::Result)
}

/// Any function, told apart by the probe's cookie (5.15): the program of multi links.
#[uprobe]
pub fn tls_enter(ctx: ProbeContext) -> u32 {
    tls::called(&ctx)
}

/// The return of any of the above.
#[uretprobe]
pub fn tls_return(ctx: RetProbeContext) -> u32 {
    tls::leave(Registers(ctx.as_ptr().cast()))
}

/// `SSL_free(ssl)`, `SSL_clear(ssl)`.
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    tls::free(Registers(ctx.as_ptr().cast()))
}

/// Never called: nothing here panics, and the verifier would refuse it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Dual licensed; the kernel wants to read a name it knows.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
