// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a program to its end, without the heap.
//!
//! The program is not the caller's child but the child of a process of ours, the supervisor. A child that calls
//! execve(2) sends SIGCHLD at its end whatever clone(2) was asked for. If the caller ignores SIGCHLD, the exit status
//! is lost. If another thread of the caller waits for any child, that thread gets it. The supervisor never calls
//! execve(2) and sends no signal: only a wait(2) with __WALL sees it, and it leaves its report in memory that both
//! share.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::{Errno, FdFlags, Result};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::fd::STANDARD;
use super::mount::last_errno;
use super::page::{Page, Shareable};

/// How much of the end of a program's output is kept.
pub const OUTPUT: usize = 512;
/// How much is read at a time. When a program ends, its last output is in the pipe, which holds sixteen times as much
/// (pipe(7)).
const BLOCK: usize = 4096;
const BLOCKS_IN_PIPE: usize = 16;

pub struct Program<'a> {
    pub path: &'a CStr,
    /// The arguments. The first is the program's name.
    pub args: &'a [CString],
    pub env: &'a [CString],
    /// The bytes that it reads from its standard input.
    pub input: &'a [u8],
    pub timeout: Option<Duration>,
}

pub struct Finished {
    pub outcome: Outcome,
    /// The end of its output to standard output and standard error.
    pub output: Tail,
}

pub enum Outcome {
    Exited(i32),
    /// A signal that the supervisor did not send killed it.
    Killed(i32),
    TimedOut,
    /// A system call failed before the program ran, or while the supervisor waited for it.
    Failed(&'static str, Errno),
    /// The supervisor was killed.
    Unknown,
}

/// Runs the program with the given input, an output of which the end is kept, no other descriptor and default signal
/// dispositions. It inherits everything else from the caller, such as the working directory.
pub fn run(program: &Program<'_>) -> Finished {
    let failed = |call: Call, errno| Finished {
        outcome: Outcome::Failed(call.name(), errno),
        output: Tail::new(),
    };
    let report = match Page::shared(Report::new()) {
        Ok(report) => report,
        Err(errno) => return failed(Call::Mmap, errno),
    };
    let input = match input(program.input) {
        Ok(input) => input,
        Err(errno) => return failed(Call::MemfdCreate, errno),
    };
    // Until the handlers are gone: they are the caller's, and this is another process.
    let blocked = Blocked::all();
    let supervisor = clone(0, || {
        if let Err((call, errno)) = supervise(program, input.as_fd(), &report) {
            report.fail(call, errno);
        }
    });
    drop(blocked);
    match supervisor {
        Ok(supervisor) => reap(&supervisor),
        Err(errno) => return failed(Call::Clone, errno),
    }
    report.read()
}

/// The result that a process leaves in shared memory before it ends.
struct Left<const N: usize> {
    is_whole: AtomicU8,
    bytes: [AtomicU8; N],
}

// SAFETY: all its fields are atomics, or arrays of them.
unsafe impl<const N: usize> Shareable for Left<N> {}

/// Runs `call` in a process of its own, which shares the table of descriptors, and returns the bytes that it
/// returned. `None` if the process was killed before.
pub fn in_child<const N: usize>(call: impl FnOnce() -> [u8; N]) -> Result<Option<[u8; N]>> {
    let left = Page::shared(Left {
        is_whole: AtomicU8::new(0),
        bytes: [const { AtomicU8::new(0) }; N],
    })?;
    // Until the handlers are gone: they are the caller's, and this is another process.
    let blocked = Blocked::all();
    let child = clone(libc::CLONE_FILES, || {
        for (to, from) in left.bytes.iter().zip(call()) {
            to.store(from, SeqCst);
        }
        left.is_whole.store(1, SeqCst);
    });
    drop(blocked);
    reap(&child?);
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(&left.bytes) {
        *to = from.load(SeqCst);
    }
    Ok((left.is_whole.load(SeqCst) == 1).then_some(bytes))
}

/// The system calls at which the two children can fail.
#[derive(Clone, Copy)]
enum Call {
    MemfdCreate,
    Clone,
    Dup,
    Pipe,
    Mmap,
    Execve,
    Poll,
    Waitid,
}

impl Call {
    const ALL: [Self; 8] = [
        Call::MemfdCreate,
        Call::Clone,
        Call::Dup,
        Call::Pipe,
        Call::Mmap,
        Call::Execve,
        Call::Poll,
        Call::Waitid,
    ];

    const fn name(self) -> &'static str {
        match self {
            Call::MemfdCreate => "memfd_create",
            Call::Clone => "clone",
            Call::Dup => "dup3",
            Call::Pipe => "pipe2",
            Call::Mmap => "mmap",
            Call::Execve => "execve",
            Call::Poll => "poll",
            Call::Waitid => "waitid",
        }
    }
}

type Step<T> = core::result::Result<T, (Call, Errno)>;

/// The report that the two children leave in shared memory.
struct Report {
    /// One of the constants below.
    kind: AtomicI32,
    /// Exit status, signal or errno.
    value: AtomicI32,
    /// The index of the failed call in `Call::ALL`.
    call: AtomicUsize,
    output: [AtomicU8; OUTPUT],
    length: AtomicUsize,
}

// SAFETY: all its fields are atomics, or arrays of them.
unsafe impl Shareable for Report {}

const UNKNOWN: i32 = 0;
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const TIMED_OUT: i32 = 3;
const FAILED: i32 = 4;

impl Report {
    fn new() -> Self {
        Report {
            kind: AtomicI32::new(UNKNOWN),
            value: AtomicI32::new(0),
            call: AtomicUsize::new(0),
            output: [const { AtomicU8::new(0) }; OUTPUT],
            length: AtomicUsize::new(0),
        }
    }

    fn fail(&self, call: Call, errno: Errno) {
        self.call.store(call as usize, SeqCst);
        self.end(FAILED, errno.raw_os_error());
    }

    /// Only the first report counts, because the exit status after a failed execve(2) tells nothing.
    fn end(&self, kind: i32, value: i32) {
        if self.kind.load(SeqCst) == UNKNOWN {
            self.value.store(value, SeqCst);
            self.kind.store(kind, SeqCst);
        }
    }

    fn keep(&self, output: &Tail) {
        for (to, from) in self.output.iter().zip(output.bytes) {
            to.store(from, SeqCst);
        }
        self.length.store(output.length, SeqCst);
    }

    fn read(&self) -> Finished {
        let value = self.value.load(SeqCst);
        let outcome = match self.kind.load(SeqCst) {
            EXITED => Outcome::Exited(value),
            KILLED => Outcome::Killed(value),
            TIMED_OUT => Outcome::TimedOut,
            FAILED => {
                let call = Call::ALL.get(self.call.load(SeqCst));
                let name = call.map_or("", |call| call.name());
                Outcome::Failed(name, Errno::from_raw_os_error(value))
            }
            _ => Outcome::Unknown,
        };
        let mut output = Tail::new();
        for (to, from) in output.bytes.iter_mut().zip(&self.output) {
            *to = from.load(SeqCst);
        }
        output.length = self.length.load(SeqCst).min(OUTPUT);
        Finished { outcome, output }
    }
}

/// The last bytes of a stream.
pub struct Tail {
    bytes: [u8; OUTPUT],
    length: usize,
}

impl Tail {
    fn new() -> Self {
        Tail {
            bytes: [0; OUTPUT],
            length: 0,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, block: &[u8]) {
        let block = &block[block.len().saturating_sub(OUTPUT)..];
        let kept = self.length.min(OUTPUT - block.len());
        self.bytes.copy_within(self.length - kept..self.length, 0);
        self.length = kept + block.len();
        self.bytes[kept..self.length].copy_from_slice(block);
    }
}

/// The supervisor's life. It is a process of its own and shares only memory with the caller.
fn supervise(program: &Program<'_>, input: BorrowedFd<'_>, report: &Report) -> Step<()> {
    reset_dispositions();
    give(input, 0).map_err(|errno| (Call::Dup, errno))?;
    close_from(1);
    let (output, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| (Call::Pipe, errno))?;
    let mut deadline = program.timeout.map(|timeout| Instant::now() + timeout);
    let child = clone(libc::SIGCHLD, || {
        if let Err((call, errno)) = execute(program, end.as_fd()) {
            report.fail(call, errno);
        }
    })
    .map_err(|errno| (Call::Clone, errno))?;
    drop(end);

    let mut tail = Tail::new();
    let mut timed_out = false;
    let mut output_is_open = true;
    let mut blocks_left = BLOCKS_IN_PIPE;
    while blocks_left > 0 {
        let remaining = deadline.map(|time| time.saturating_duration_since(Instant::now()));
        if remaining == Some(Duration::ZERO) {
            // The program may have ended this moment. Its exit status tells.
            timed_out = rustix::process::pidfd_send_signal(&child, Signal::KILL).is_ok();
            deadline = None;
            continue;
        }
        let remaining = remaining.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [
            PollFd::new(&child, PollFlags::IN),
            PollFd::new(&output, PollFlags::IN),
        ];
        let watched = &mut fds[..1 + usize::from(output_is_open)];
        match poll(watched, remaining.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err((Call::Poll, errno)),
        }
        let is_ready = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
        let has_ended = is_ready(watched.first());
        if is_ready(watched.get(1)) {
            let mut block = [0; BLOCK];
            let length = rustix::io::read(&output, &mut block).unwrap_or(0);
            output_is_open = length > 0;
            tail.push(&block[..length]);
        } else if has_ended {
            break;
        }
        // Reading ends here because a child that the program left in the background may write for ever.
        blocks_left -= usize::from(has_ended);
    }
    report.keep(&tail);
    match wait(&child, WaitIdOptions::EXITED).map_err(|errno| (Call::Waitid, errno))? {
        Some(status) => match (status.exit_status(), status.terminating_signal()) {
            (Some(status), _) => report.end(EXITED, status),
            (_, Some(libc::SIGKILL)) if timed_out => report.end(TIMED_OUT, 0),
            (_, signal) => report.end(KILLED, signal.unwrap_or(0)),
        },
        None => report.end(UNKNOWN, 0),
    }
    Ok(())
}

/// The last steps in the program's own process. Returns only on failure.
fn execute(program: &Program<'_>, output: BorrowedFd<'_>) -> Step<()> {
    for standard in [1, 2] {
        give(output, standard).map_err(|errno| (Call::Dup, errno))?;
    }
    let vector = |strings| pointers(strings).map_err(|errno| (Call::Mmap, errno));
    let (args, env) = (vector(program.args)?, vector(program.env)?);
    set_mask(&set(libc::sigemptyset));
    // SAFETY: the path is a C string, and both vectors end with NULL.
    unsafe { libc::execve(program.path.as_ptr(), args, env) };
    Err((Call::Execve, last_errno()))
}

/// A vector of strings for execve(2), in memory that goes when the program replaces this process's image.
fn pointers(strings: &[CString]) -> Result<*const *const c_char> {
    let bytes = (strings.len() + 1) * size_of::<*const c_char>();
    // SAFETY: a new mapping, large enough for the strings and the NULL at the end, which it holds already.
    unsafe {
        let first = rustix::mm::mmap_anonymous(
            core::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )?
        .cast::<*const c_char>();
        for (index, string) in strings.iter().enumerate() {
            first.add(index).write(string.as_ptr());
        }
        Ok(first)
    }
}

/// A file in memory that holds the input. A pipe would not do: a program that does not read would stop or kill the
/// writer.
fn input(bytes: &[u8]) -> Result<OwnedFd> {
    let create = |flags| rustix::fs::memfd_create(c"state", flags | MemfdFlags::CLOEXEC);
    // The sysctl vm.memfd_noexec demands this flag, and kernels before Linux 6.3 do not know it.
    let file = match create(MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(MemfdFlags::empty())?,
        result => result?,
    };
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::pwrite(&file, &bytes[written..], written as u64) {
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(file)
}

/// Makes a child with a copy of this process's memory, and its pidfd. fork(3) would not do: it takes locks that
/// another thread may have held when a raw clone made this process. `flags`: the signal at its end, with CLONE_*.
pub(super) fn clone(flags: c_int, child: impl FnOnce()) -> Result<OwnedFd> {
    /// A panic must not unwind into the caller's code a second time.
    struct Exit;
    impl Drop for Exit {
        fn drop(&mut self) {
            // SAFETY: exit_group(2) only ends this process.
            unsafe { libc::_exit(127) }
        }
    }
    let flags = c_long::from(libc::CLONE_PIDFD | flags);
    const NO_STACK: c_long = 0;
    // The order of arguments differs by architecture: "C library/kernel differences" in clone(2).
    let (first, second) = if cfg!(target_arch = "s390x") {
        (NO_STACK, flags)
    } else {
        (flags, NO_STACK)
    };
    let mut pidfd: c_int = -1;
    let pidfd_at = &raw mut pidfd;
    // SAFETY: without CLONE_VM and a stack clone(2) is like fork(2). The kernel writes the pidfd to a valid c_int.
    match unsafe { libc::syscall(libc::SYS_clone, first, second, pidfd_at, NO_STACK, NO_STACK) } {
        0 => {
            let exit = Exit;
            child();
            drop(exit);
            Err(Errno::CHILD)
        }
        1.. => {
            // SAFETY: the kernel has just opened the pidfd for this process.
            Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
        }
        _ => Err(last_errno()),
    }
}

/// Waits for a child that sends no signal. If somebody else has reaped it, that does not matter: it has left its
/// report.
pub(super) fn reap(child: &OwnedFd) {
    while poll(&mut [PollFd::new(child, PollFlags::IN)], None) == Err(Errno::INTR) {}
    // `WaitIdOptions` has no name for __WALL, and passes its bits on to the system call.
    let any = WaitIdOptions::from_bits_retain(libc::__WALL as c_uint);
    let _ = wait(child, WaitIdOptions::EXITED | any);
}

fn wait(child: &OwnedFd, options: WaitIdOptions) -> Result<Option<WaitIdStatus>> {
    loop {
        match waitid(WaitId::PidFd(child.as_fd()), options) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Makes a descriptor one of the standard descriptors, which execve(2) leaves open.
fn give(fd: BorrowedFd<'_>, standard: usize) -> Result<()> {
    if usize::try_from(fd.as_raw_fd()) == Ok(standard) {
        rustix::io::fcntl_setfd(fd, FdFlags::empty())
    } else {
        STANDARD[standard].replace(fd)
    }
}

/// Closes every descriptor from `first` on, in a process that uses none of them.
fn close_from(first: c_uint) {
    // SAFETY: this process ends without using or dropping any owner of these descriptors.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) == 0 {
            return;
        }
        // Old seccomp policies refuse close_range(2).
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        for fd in first..c_uint::try_from(limit.unwrap_or(0)).unwrap_or(c_uint::MAX) {
            libc::close(fd as c_int);
        }
    }
}

/// Sets every signal to its default. Ignored signals too, because execve(2) would keep them ignored.
fn reset_dispositions() {
    for signal in 1..=64 {
        // SAFETY: the call sets no handler. Signals that can't be changed (SIGKILL, SIGSTOP) stay as they are.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn set(fill: unsafe extern "C" fn(*mut libc::sigset_t) -> c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) and sigfillset(3) write the whole set.
    unsafe {
        fill(set.as_mut_ptr());
        set.assume_init()
    }
}

fn set_mask(mask: &libc::sigset_t) -> libc::sigset_t {
    let mut before = set(libc::sigemptyset);
    // SAFETY: both pointers are to valid sets of signals.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, &mut before) };
    before
}

/// Blocks all signals for this thread and the children that it makes, until it is dropped.
pub(super) struct Blocked(libc::sigset_t);

impl Blocked {
    pub(super) fn all() -> Self {
        Blocked(set_mask(&set(libc::sigfillset)))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        set_mask(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = Tail::new();
        tail.push(b"abc");
        tail.push(&[b'x'; OUTPUT - 2]);
        assert_eq!(tail.as_bytes().len(), OUTPUT);
        assert!(tail.as_bytes().starts_with(b"bcx") || tail.as_bytes().starts_with(b"cx"));
        tail.push(&[b'y'; 3 * OUTPUT]);
        tail.push(b"end");
        assert!(tail.as_bytes().starts_with(b"y") && tail.as_bytes().ends_with(b"yend"));
    }
}
